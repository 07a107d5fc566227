"""Giving back many turns at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import F

from history import compaction, status
from history.compaction import BrokenOff, Place
from history.errors import Fenced
from history.events import TurnEnded
from history.models import Conversation, Turn
from history.releases import Releases
from tests.history.stage import claimed, elsewhere, engine_of, new_conversation, new_turn, running
from tests.history.test_calls import call, told

pytestmark = pytest.mark.django_db(transaction=True)


def nobodys(places: Iterable[Place]) -> list[bool]:
    """Which of these turns have been given back."""
    found = {turn.turn_id for turn in status.abandoned(status.RELEASED)}
    return [place.turn_id in found for place in places]


def three(user: User) -> tuple[list[Place], Releases]:
    """Turns of one engine."""
    first = running(user)
    engine = engine_of(first)
    places = [first, *(claimed(new_turn(new_conversation(user)), engine=engine) for _ in range(2))]
    return places, Releases(engine)


def test_the_first_that_is_written_gives_back_all_that_wait(user: User) -> None:
    places, releases = three(user)
    other = running(user)
    jobs = [releases.job(place.turn_id, attempt=place.attempt) for place in places]

    jobs[0]()
    at_once = nobodys([*places, other])
    leases = list(Turn.objects.values_list("lease_expires_at", flat=True))
    for job in jobs[1:]:
        job()

    assert at_once == [True, True, True, False]
    assert list(Turn.objects.values_list("lease_expires_at", flat=True)) == leases, "once is enough"


@pytest.mark.parametrize("how", ["taken", "ended", "deleted"])
def test_one_that_is_not_ours_any_more_is_left_alone_and_keeps_back_no_other(user: User, how: str) -> None:
    """R10."""
    places, releases = three(user)
    lost = places[0]
    if how == "taken":
        Turn.objects.filter(pk=lost.turn_id).update(attempt=F("attempt") + 1)
    elif how == "ended":
        compaction.end_turn(lost, message=None, ended=TurnEnded(status="completed"))
    else:
        Turn.objects.filter(pk=lost.turn_id).delete()
    jobs = [releases.job(place.turn_id, attempt=place.attempt) for place in places]

    with pytest.raises(Fenced):
        jobs[0]()

    assert nobodys(places) == [False, True, True]


def test_one_that_is_locked_is_tried_again_and_keeps_back_no_other(user: User) -> None:
    if connection.vendor == "sqlite":  # has one lock for all
        return
    places, releases = three(user)
    jobs = [releases.job(place.turn_id, attempt=place.attempt) for place in places]

    with elsewhere(partial(status.fence, places[0].turn_id, attempt=1)):
        with pytest.raises(OperationalError):
            jobs[0]()
        meanwhile = nobodys(places)
    jobs[0]()

    assert meanwhile == [False, True, True]
    assert nobodys(places) == [True, True, True]


def test_one_whose_commit_was_not_heard_of_is_given_back_again(user: User) -> None:
    """The writer tries again what seems to have failed."""
    place = running(user)
    releases = Releases(engine_of(place))
    job = releases.job(place.turn_id, attempt=place.attempt)
    status.release({place.turn_id: place.attempt}, engine=engine_of(place), lease=60.0)

    job()

    assert nobodys([place]) == [True]


def test_calls_that_are_broken_off_are_told_for_all_at_once_and_those_of_one_that_is_locked_when_it_is_free(
    user: User,
) -> None:
    """R23."""
    if connection.vendor == "sqlite":  # has one lock for all
        return
    places, releases = three(user)
    jobs = [
        releases.job(
            place.turn_id,
            attempt=place.attempt,
            broken_off=BrokenOff(place.conversation_id, call(attempt=1, hop=0, outcome="released")),
        )
        for place in places
    ]

    with elsewhere(partial(Conversation.objects.select_for_update().get, pk=places[0].conversation_id)):
        with pytest.raises(OperationalError):
            jobs[0]()
        meanwhile = [told(place) for place in places]
    for job in jobs:
        job()

    assert [len(each) for each in meanwhile] == [0, 1, 1]
    assert [told(place) for place in places] == [[("released", 1, 0, 10, 4)]] * 3
