"""What is stored of drafts that come to nothing does not stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from history import batches as stored
from history import compaction, status, takeover
from history.compaction import Place
from history.draft import Draft, Stretch
from history.events import TurnEnded
from history.models import DeltaBatch
from tests.history.stage import batches, engine_of, new_conversation, new_turn, place_of, running, store

pytestmark = pytest.mark.django_db


def test_what_a_fenced_out_attempt_had_stored_is_dropped_and_nothing_else(user: User) -> None:
    """R10."""
    place, other = running(user), running(user)
    newer = Place(place.conversation_id, place.turn_id, place.attempt + 1)
    store(place, [("text", "a")], [("text", "b")])
    store(place, [("text", "c")], hop=1)
    store(newer, [("text", "newer")])
    store(other, [("text", "other")])

    stored.drop(place.turn_id, attempt=place.attempt)

    assert batches(place.turn_id) == [(0, "newer")]
    assert batches(other.turn_id) == [(0, "other")]


def test_old_batches_of_no_turn_in_progress_are_swept(user: User) -> None:
    active, stopping, over, fresh = (running(user) for _ in range(4))
    queued = place_of(new_turn(new_conversation(user)))
    status.request_stop(stopping.turn_id)
    for place in (over, fresh):
        compaction.end_turn(place, message=None, ended=TurnEnded(status="completed"))
    places = (active, stopping, over, fresh, queued)
    for place in places:
        store(place, [("text", "a")])
    DeltaBatch.objects.exclude(turn_id=fresh.turn_id).update(at=Now() - timedelta(seconds=61))

    swept = stored.sweep(older=60.0)

    assert swept == 1
    assert [len(batches(place.turn_id)) for place in places] == [1, 1, 0, 1, 1]


def test_only_the_attempt_that_has_the_turn_stores_text_and_only_as_long_as_it_runs(user: User) -> None:
    """R10: in one statement with the others, which are stored."""
    mine, lost, over = running(user), running(user, lease=-1.0), running(user)
    (turn,) = status.abandoned(status.LAPSED)
    takeover.take_over(turn, engine=engine_of(mine), lease=60.0)
    compaction.end_turn(over, message=None, ended=TurnEnded(status="completed"))
    drafts = [
        Draft(place.conversation_id, turn_id=place.turn_id, attempt=place.attempt, hop=0, after_seq=1)
        for place in (mine, lost, over)
    ]
    fresh = [(draft, Stretch(0, "a", (("text", 1),))) for draft in drafts]

    stored.insert(fresh)

    assert [batches(place.turn_id) for place in (mine, lost, over)] == [[(0, "a")], [], []]


def test_what_was_stored_unheard_is_replaced_by_what_it_has_grown_to(user: User) -> None:
    place = running(user)
    draft = Draft(place.conversation_id, turn_id=place.turn_id, attempt=place.attempt, hop=0, after_seq=1)

    stored.insert([(draft, Stretch(0, "a", (("text", 1),)))])
    stored.insert([(draft, Stretch(0, "ab", (("text", 1), ("reasoning", 1))))])

    (row,) = DeltaBatch.objects.filter(turn_id=place.turn_id)
    assert (row.text, row.runs) == ("ab", [["text", 1], ["reasoning", 1]])
