"""Going on with a turn whose process is gone, as rows."""

from __future__ import annotations

from functools import partial
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models import Q

from history import compaction, status
from history.committed import Committed
from history.compaction import Place
from history.errors import Fenced, NotFound
from history.events import TurnEnded
from history.models import Turn
from history.status import Abandoned
from history.takeover import take_over
from tests.history.stage import (
    answered,
    at_once,
    batches,
    engine_of,
    entries,
    kinds,
    new_conversation,
    new_turn,
    running,
    said,
    store,
)


def abandoned(place: Place, still: Q = status.LAPSED) -> Abandoned:
    (turn,) = status.abandoned(still, among=[place.turn_id])
    return turn


def take(turn: Abandoned, *, engine: UUID | None = None) -> int:
    return take_over(turn, engine=engine or uuid4(), lease=60.0)


@pytest.mark.django_db
def test_it_is_ours_in_a_new_attempt_and_what_was_shown_is_withdrawn(user: User) -> None:
    """R10."""
    place, other = running(user, lease=-1.0), running(user)
    compaction.end_hop(place, said("a", calls=1))
    compaction.add_result(place, answered("b"))
    store(place, [("text", "c")], hop=1)
    store(other, [("text", "d")])
    engine = uuid4()

    attempt = take(abandoned(place), engine=engine)

    assert attempt == 2
    assert entries(place.conversation_id)[-1] == (4, "turn_restarted", {"attempt": 2, "hop": 1, "reason": "lost"})
    assert batches(place.turn_id) == []
    assert batches(other.turn_id) == [(0, "d")]
    row = Turn.objects.get(pk=place.turn_id)
    assert (row.status, row.attempt, row.losses, row.engine) == ("running", 2, 1, engine)
    assert not status.abandoned(status.LAPSED, among=[place.turn_id])


@pytest.mark.django_db
def test_who_had_it_writes_nothing_more(user: User) -> None:
    place = running(user, lease=-1.0)
    take(abandoned(place))

    with pytest.raises(Fenced):
        compaction.end_hop(place, said("a", calls=1))
    with pytest.raises(Fenced):
        compaction.end_turn(place, message=said("a"), ended=TurnEnded(status="completed"))
    assert status.release({place.turn_id: place.attempt}, engine=engine_of(place), lease=60.0) == set()
    assert kinds(place.conversation_id) == ["user_message", "turn_restarted"]


@pytest.mark.django_db
def test_one_that_was_released_is_nobodys_loss(user: User) -> None:
    """R20. It is found as what it is, and not as one that has lapsed: its lease has not."""
    place = running(user)
    new_turn(new_conversation(user))  # is queued, and nobody's loss either
    status.release({place.turn_id: place.attempt}, engine=engine_of(place), lease=60.0)

    assert status.abandoned(status.LAPSED) == []
    assert [turn.turn_id for turn in status.abandoned(status.RELEASED)] == [place.turn_id]
    take(abandoned(place, status.RELEASED))

    assert entries(place.conversation_id)[-1][2]["reason"] == "released"
    assert Turn.objects.get(pk=place.turn_id).losses == 0


@pytest.mark.django_db
@pytest.mark.parametrize("meanwhile", ["renewed", "released", "stopped", "ended", "deleted"])
def test_one_that_is_not_abandoned_after_all_is_left_alone(user: User, meanwhile: str) -> None:
    place = running(user, lease=-1.0)
    turn = abandoned(place)
    if meanwhile == "renewed":
        status.renew([place.turn_id], engine=engine_of(place), lease=60.0)
    elif meanwhile == "released":
        status.release(
            {place.turn_id: place.attempt}, engine=engine_of(place), lease=-1.0
        )  # is no loss, so it is to be found anew
    elif meanwhile == "stopped":
        status.request_stop(place.turn_id)
    elif meanwhile == "ended":
        compaction.end_turn(place, message=None, ended=TurnEnded(status="completed"))
    else:
        Turn.objects.filter(pk=place.turn_id).delete()
    before = kinds(place.conversation_id)

    with pytest.raises(Fenced):
        take(turn)

    assert kinds(place.conversation_id) == before


@pytest.mark.django_db
def test_of_a_conversation_that_is_gone_nothing_is_left_to_take(user: User) -> None:
    turn = abandoned(running(user, lease=-1.0))

    with pytest.raises(NotFound):
        take(turn._replace(conversation_id=uuid4()))
    assert Turn.objects.get().attempt == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_it_one_gets_it(user: User) -> None:
    """R10."""
    place = running(user, lease=-1.0)
    turn = abandoned(place)

    results = at_once(*[partial(take, turn) for _ in range(8)])

    assert results.count(2) == 1
    assert all(isinstance(result, Fenced | OperationalError) for result in results if result != 2)
    assert kinds(place.conversation_id) == ["user_message", "turn_restarted"]
    assert Turn.objects.get().losses == 1


@pytest.mark.django_db(transaction=True)
def test_everybody_who_follows_is_told(user: User, told: list[Committed]) -> None:
    place = running(user, lease=-1.0)
    told.clear()

    take(abandoned(place))

    assert [(change.last_seq, change.status, len(change.entries)) for change in told] == [(2, "running", 1)]
