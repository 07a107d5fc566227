"""The status machine: of any number of hands that reach for an edge at once, one gets it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from history import compaction, status, stopping
from history.compaction import Place
from history.errors import Fenced
from history.events import TurnEnded, TurnError
from history.models import ACTIVE, IS_ACTIVE, Event, Status, Turn
from llm.types import Usage
from tests.history.stage import (
    at_once,
    claimed,
    elsewhere,
    interrupted,
    kinds,
    new_conversation,
    new_turn,
    place_of,
    running,
    said,
)

HANDS = 6


def end(place: Place, outcome: Any = "completed") -> None:
    compaction.end_turn(place, message=None, ended=TurnEnded(status=outcome))


def state(turn_id: UUID) -> str:
    return Turn.objects.values_list("status", flat=True).get(pk=turn_id)


@pytest.mark.django_db(transaction=True)
def test_one_of_many_engines_claims_a_turn(user: User) -> None:
    """Edge b."""
    turn = new_turn(new_conversation(user))
    engines = [uuid4() for _ in range(HANDS)]

    won = at_once(*(partial(status.claim, turn.pk, engine=engine, lease=60) for engine in engines))

    assert sorted(map(bool, won)) == [False] * (HANDS - 1) + [True]
    turn.refresh_from_db()
    assert (turn.status, turn.attempt, turn.engine) == (Status.RUNNING, 1, engines[won.index(True)])


@pytest.mark.django_db
def test_only_a_queued_turn_can_be_claimed(user: User) -> None:
    place = running(user)

    again = status.claim(place.turn_id, engine=uuid4(), lease=60)
    status.request_stop(place.turn_id)
    while_stopping = status.claim(place.turn_id, engine=uuid4(), lease=60)
    end(place)
    afterwards = status.claim(place.turn_id, engine=uuid4(), lease=60)

    assert [again, while_stopping, afterwards, status.claim(uuid4(), engine=uuid4(), lease=60)] == [None] * 4


@pytest.mark.django_db
def test_an_engine_that_did_not_hear_that_it_has_a_turn_may_ask_again(user: User) -> None:
    engine = uuid4()
    place = claimed(new_turn(new_conversation(user)), engine=engine)

    again = status.claim(place.turn_id, engine=engine, lease=60)
    end(place)
    afterwards = status.claim(place.turn_id, engine=engine, lease=60)

    assert (again, afterwards) == (place.attempt, None)
    assert Turn.objects.values_list("attempt", flat=True).get() == place.attempt


@pytest.mark.django_db(transaction=True)
def test_one_of_many_who_stop_a_turn_is_told_that_they_did(user: User) -> None:
    """Edge c."""
    place = running(user)

    won = at_once(*(partial(stopping.stop, place.turn_id) for _ in range(HANDS)))

    assert sorted(map(bool, won)) == [False] * (HANDS - 1) + [True]
    assert state(place.turn_id) == Status.STOPPING


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_is_claimed_and_stopped_at_once_is_stopped_either_way(user: User) -> None:
    """Edges b and g: the stop comes first and the claim gets nothing, or the claim does and the stop reaches it."""
    turn = new_turn(new_conversation(user))

    claim, stop = at_once(
        partial(status.claim, turn.pk, engine=uuid4(), lease=60), partial(stopping.stop, turn.pk)
    )  # fmt: skip

    assert stop is True
    assert state(turn.pk) == (Status.STOPPING if claim else Status.CANCELLED)
    assert kinds(turn.conversation_id) == (["user_message"] if claim else ["user_message", "turn_ended"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(9))
def test_a_turn_that_is_claimed_in_the_middle_of_a_stop_is_stopped_too(user: User, moment: int) -> None:
    """Edges b, c and g, wherever in between the claim arrives."""
    turn = new_turn(new_conversation(user))

    stopped, claim = interrupted(
        partial(stopping.stop, turn.pk), by=partial(status.claim, turn.pk, engine=uuid4(), lease=60), before=moment
    )

    assert stopped is True
    assert state(turn.pk) == (Status.STOPPING if claim == 1 else Status.CANCELLED)


@pytest.mark.django_db
def test_stopping_what_is_over_or_was_never_there_changes_nothing(user: User) -> None:
    place = running(user)
    end(place)

    assert stopping.stop(place.turn_id) is False
    assert stopping.stop(uuid4()) is False

    assert state(place.turn_id) == Status.COMPLETED
    assert kinds(place.conversation_id) == ["user_message", "turn_ended"]


@pytest.mark.django_db(transaction=True)
def test_of_many_ends_one_counts(user: User) -> None:
    """Edges d, e, f; R9."""
    place = running(user)
    outcomes = ["completed", "cancelled", "failed"] * 2

    results = at_once(*(partial(end, place, outcome) for outcome in outcomes))

    assert [result for result in results if result is not None and not isinstance(result, Fenced)] == []
    assert results.count(None) == 1
    assert state(place.turn_id) == outcomes[results.index(None)]
    assert kinds(place.conversation_id) == ["user_message", "turn_ended"]
    assert Event.objects.get(kind="turn_ended").data["status"] == outcomes[results.index(None)]


@pytest.mark.django_db(transaction=True)
def test_a_stop_and_an_end_at_once_leave_an_ended_turn(user: User) -> None:
    for _ in range(5):
        place = running(user)

        _, ended = at_once(partial(stopping.stop, place.turn_id), partial(end, place))

        assert ended is None
        assert state(place.turn_id) == Status.COMPLETED
        assert kinds(place.conversation_id) == ["user_message", "turn_ended"]


@pytest.mark.django_db
@pytest.mark.parametrize("outcome", ["completed", "cancelled", "failed"])
@pytest.mark.parametrize("stop_first", [False, True])
def test_an_active_turn_ends_with_the_numbers_of_its_end(user: User, outcome: Any, stop_first: bool) -> None:
    place = running(user)
    if stop_first:
        assert status.request_stop(place.turn_id)
    error = TurnError(code="stalled", message="Nothing came.") if outcome == "failed" else None
    usage = Usage(prompt=7, completion=5, cached=3, reasoning=2)

    compaction.end_turn(
        place,
        message=said("a"),
        ended=TurnEnded(status=outcome, error=error, usage=usage, cost="0.00000012", finish_reason="stop"),
    )

    turn = Turn.objects.get()
    assert turn.status == outcome
    assert turn.error_code == ("stalled" if error else "")
    assert (turn.prompt_tokens, turn.completion_tokens, turn.cached_tokens, turn.reasoning_tokens) == (7, 5, 3, 2)
    assert f"{turn.cost:f}" == "0.00000012"
    assert turn.finish_reason == "stop"
    assert turn.lease_expires_at is None
    assert turn.started_at is not None
    assert turn.ended_at is not None
    assert turn.ended_at >= turn.started_at >= turn.created_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("later", ["attempt", "ended"])
def test_what_is_fenced_out_writes_nothing(user: User, later: str) -> None:
    """R10: neither an older attempt nor one whose turn is over."""
    place = running(user)
    if later == "attempt":
        Turn.objects.update(attempt=F("attempt") + 1)
    else:
        end(place)
    before = kinds(place.conversation_id), state(place.turn_id)

    with pytest.raises(Fenced):
        compaction.end_hop(place, said("too late", calls=1))
    with pytest.raises(Fenced):
        end(place, "failed")
    with pytest.raises(Fenced):
        status.end(place.turn_id, attempt=place.attempt, ended=TurnEnded(status="failed"))

    assert (kinds(place.conversation_id), state(place.turn_id)) == before


@pytest.mark.django_db(transaction=True)
def test_the_fence_and_a_claim_wait_for_each_other(user: User) -> None:
    """Whoever holds the fence finishes its write before the next attempt begins."""
    if connection.vendor == "sqlite":  # which lets one transaction write at a time
        assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
        return
    place = running(user)

    with elsewhere(partial(status.fence, place.turn_id, attempt=place.attempt)), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = 50")
        with pytest.raises(Exception, match="lock timeout"):
            Turn.objects.filter(pk=place.turn_id).update(attempt=F("attempt") + 1)
        transaction.set_rollback(True)

    assert place_of(Turn.objects.get()) == place


@pytest.mark.django_db
def test_a_lease_is_database_time_to_the_millisecond(user: User) -> None:
    running(user, lease=1.25)

    turn = Turn.objects.get()

    assert turn.lease_expires_at is not None
    assert turn.started_at is not None
    assert turn.lease_expires_at - turn.started_at == timedelta(milliseconds=1250)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("left", "gone"), [(-0.001, True), (-1.5, True), (0.5, False), (60, False)])
def test_a_turn_has_lapsed_when_its_lease_has_and_not_before(user: User, left: float, gone: bool) -> None:
    """Less than a second either way counts, so the clock must not be cut to seconds."""
    place = running(user, lease=left)

    assert [turn[:3] for turn in status.abandoned(status.LAPSED)] == (
        [(place.conversation_id, place.turn_id, place.attempt)] if gone else []
    )


@pytest.mark.django_db(transaction=True)
def test_a_stopping_turn_lapses_too_but_neither_a_queued_nor_an_ended_one(user: User) -> None:
    stopping_turn = running(user, lease=-1)
    status.request_stop(stopping_turn.turn_id)
    new_turn(new_conversation(user))
    end(running(user, lease=-1))

    assert [turn.turn_id for turn in status.abandoned(status.LAPSED)] == [stopping_turn.turn_id]


@pytest.mark.django_db(transaction=True)
def test_an_engine_renews_what_it_names_and_owns(user: User) -> None:
    mine, other = uuid4(), uuid4()
    named, unnamed, foreign, over = (
        claimed(new_turn(new_conversation(user)), engine=engine, lease=-1) for engine in (mine, mine, other, mine)
    )
    end(over)

    status.renew([named.turn_id, foreign.turn_id, over.turn_id], engine=mine, lease=60)

    assert {turn.turn_id for turn in status.abandoned(status.LAPSED)} == {unnamed.turn_id, foreign.turn_id}
    leases = dict(Turn.objects.values_list("pk", F("lease_expires_at") - Now()))
    assert timedelta(seconds=50) < leases[named.turn_id] <= timedelta(seconds=60)
    assert leases[over.turn_id] is None


@pytest.mark.django_db
def test_an_engine_knows_its_active_turns(user: User) -> None:
    mine = uuid4()
    first, second, third = (claimed(new_turn(new_conversation(user)), engine=mine) for _ in range(3))
    running(user)
    status.request_stop(second.turn_id)
    end(third)

    assert status.owned(mine) == {first.turn_id: (1, Status.RUNNING), second.turn_id: (1, Status.STOPPING)}


@pytest.mark.django_db
def test_an_engine_finds_out_which_turns_are_not_its_own_any_more(user: User) -> None:
    """R10: its own and those it may still claim are; what is ended, gone or another's is not."""
    mine = uuid4()
    kept, over = (claimed(new_turn(new_conversation(user)), engine=mine) for _ in range(2))
    foreign, queued, gone = running(user), new_turn(new_conversation(user)), uuid4()
    end(over)

    lost = status.not_mine([kept.turn_id, over.turn_id, foreign.turn_id, queued.pk, gone], engine=mine)

    assert lost == {over.turn_id, foreign.turn_id, gone}


@pytest.mark.django_db(transaction=True)
def test_a_queued_turn_is_forgotten_after_a_while(user: User) -> None:
    old, new = (new_turn(new_conversation(user)) for _ in range(2))
    taken = running(user)
    for pk, age in ((old.pk, 3.001), (new.pk, 2.0), (taken.turn_id, 60)):
        Turn.objects.filter(pk=pk).update(created_at=Now() - timedelta(seconds=age))

    assert status.forgotten(after=3.0) == [old.pk]
    assert status.forgotten(after=60.0) == []


@pytest.mark.django_db(transaction=True)
def test_a_conversation_has_one_active_turn_however_many_are_made_at_once(user: User) -> None:
    """R5: held by the database."""
    conversation = new_conversation(user)

    def make() -> Turn:
        return Turn.objects.create(conversation_id=conversation.pk, owner_id=user.pk)

    made = at_once(*[make] * HANDS)

    assert sum(isinstance(turn, Turn) for turn in made) == 1
    assert sum(isinstance(turn, IntegrityError) for turn in made) == HANDS - 1
    assert Turn.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("active", ACTIVE)
def test_every_active_status_keeps_the_conversation_and_every_ended_one_frees_it(user: User, active: str) -> None:
    """R5."""
    conversation = new_conversation(user)
    turn = new_turn(conversation, status=active)

    with pytest.raises(IntegrityError), transaction.atomic():
        Turn.objects.create(conversation=conversation, owner=user)

    for ended in ("completed", "cancelled", "failed"):
        Turn.objects.filter(pk=turn.pk).update(status=ended)
        turn = Turn.objects.create(conversation=conversation, owner=user)
    assert Turn.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_an_owner_has_one_turn_per_request_id_however_many_are_made_at_once(user: User, other_user: User) -> None:
    """R3, A2.26h: held by the database; somebody else's id is another, and no id is no key."""

    def make(owner: User, request_id: str | None) -> Turn:
        return Turn.objects.create(conversation=new_conversation(owner), owner=owner, request_id=request_id)

    made = at_once(*[partial(make, user, "key")] * HANDS)
    others = at_once(partial(make, other_user, "key"), partial(make, user, "another"))
    keyless = at_once(*[partial(make, user, None)] * 2)

    assert sum(isinstance(turn, Turn) for turn in made) == 1
    assert sum(isinstance(turn, IntegrityError) for turn in made) == HANDS - 1
    assert all(isinstance(turn, Turn) for turn in others + keyless)
    assert Turn.objects.filter(owner=user, request_id="key").count() == 1


def test_what_is_asked_of_active_turns_is_found_by_their_indexes(user: User) -> None:
    """Of many turns few are active: SQLite uses a partial index only for values that it can read."""
    conversation = new_conversation(user)

    by_owner = Turn.objects.filter(IS_ACTIVE, owner_id=user.pk).explain()
    by_conversation = Turn.objects.filter(IS_ACTIVE, conversation_id=conversation.pk).explain()

    if connection.vendor == "sqlite":  # PostgreSQL scans a table that has hardly a row
        assert "turn_active_of_owner" in by_owner
        assert "one_active_turn_per_conversation" in by_conversation
    assert "queued" in str(Turn.objects.filter(IS_ACTIVE).query)
