"""What the database has for a viewer who comes, or comes back."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from history import compaction, log, replay, status, takeover
from history.compaction import Place
from history.draft import Draft
from history.errors import NotFound
from history.events import TurnEnded
from history.models import DeltaBatch, Turn
from tests.history.stage import answered, interrupted, new_conversation, new_turn, running, said, store


def stored(place: Place) -> Draft | None:
    return replay.stored_drafts([place.conversation_id]).get(place.conversation_id)


def runs(draft: Draft | None) -> list[tuple[str, str]]:
    return [] if draft is None else [(part.channel, part.text) for part in draft.parts]


@pytest.mark.django_db
def test_a_stored_draft_is_what_was_said_so_far(user: User) -> None:
    place = running(user)
    store(place, [("reasoning", "hm \U0001f914"), ("text", "he")], [("text", "llo"), ("reasoning", "!")])

    draft = stored(place)

    assert draft is not None
    assert runs(draft) == [("reasoning", "hm \U0001f914"), ("text", "he"), ("text", "llo"), ("reasoning", "!")]
    assert draft.length == 10
    assert Place(draft.conversation_id, draft.turn_id, draft.attempt) == place
    assert draft.hop == 0
    assert draft.after_seq == 1


@pytest.mark.django_db
def test_a_stored_draft_is_of_the_newest_hop_and_attempt(user: User) -> None:
    place = running(user)
    compaction.end_hop(place, said("a", calls=1))
    compaction.add_result(place, answered("b"))
    store(place, [("text", "old")], hop=1)
    Turn.objects.update(attempt=F("attempt") + 1)
    newer = Place(place.conversation_id, place.turn_id, place.attempt + 1)

    nothing_yet = stored(place)
    store(newer, [("text", "new")], hop=1)
    draft = stored(place)

    assert nothing_yet is None
    assert runs(draft) == [("text", "new")]
    assert draft is not None
    assert (draft.attempt, draft.hop, draft.after_seq) == (2, 1, 3)


@pytest.mark.django_db
def test_text_behind_a_gap_is_not_shown(user: User) -> None:
    """What comes after a missing stretch would be shown at the wrong place."""
    place = running(user)
    store(place, [("text", "one ")], [("text", "two ")], [("text", "three")])
    DeltaBatch.objects.get(text="two ").delete()

    assert runs(stored(place)) == [("text", "one ")]


@pytest.mark.django_db
def test_there_is_no_draft_where_none_is_in_progress(user: User) -> None:
    quiet, begun, said_it, over = new_turn(new_conversation(user)), running(user), running(user), running(user)
    compaction.end_hop(said_it, said("a", calls=1))
    store(said_it, [("text", "behind its message")])
    compaction.end_turn(over, message=None, ended=TurnEnded(status="cancelled"))
    store(over, [("text", "behind its end")])
    conversations = [quiet.conversation_id, begun.conversation_id, said_it.conversation_id, over.conversation_id]

    assert replay.stored_drafts([*conversations, uuid4()]) == {}
    assert replay.stored_drafts([]) == {}


@pytest.mark.django_db
@pytest.mark.parametrize("stopping", [False, True])
def test_many_drafts_cost_as_many_queries_as_one(user: User, stopping: bool) -> None:
    places = [running(user) for _ in range(12)]
    for n, place in enumerate(places):
        store(place, [("text", f"{n}")])
        if stopping:
            status.request_stop(place.turn_id)

    with CaptureQueriesContext(connection) as one:
        replay.stored_drafts([places[0].conversation_id])
    with CaptureQueriesContext(connection) as all_of_them:
        drafts = replay.stored_drafts([place.conversation_id for place in places])

    assert {pk: runs(draft) for pk, draft in drafts.items()} == {
        place.conversation_id: [("text", f"{n}")] for n, place in enumerate(places)
    }
    assert len(all_of_them) == len(one) <= 5


@pytest.mark.django_db
def test_a_viewer_reads_events_past_its_own_and_the_draft(user: User) -> None:
    place = running(user)
    compaction.end_hop(place, said("a", calls=1))
    store(place, [("text", "b")], hop=1)

    page, draft = replay.read(place.conversation_id, after=1)

    assert page == log.read(place.conversation_id, after=1)
    assert [entry.kind for entry in page.entries] == ["assistant_message"]
    assert runs(draft) == [("text", "b")]


@pytest.mark.django_db
def test_a_conversation_that_is_gone_is_not_found() -> None:
    with pytest.raises(NotFound):
        replay.read(uuid4(), after=0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("last", [False, True], ids=["the hop ends", "the turn ends"])
@pytest.mark.parametrize("moment", range(9))
def test_text_that_becomes_an_event_while_it_is_read_is_missing_from_neither(
    user: User, moment: int, last: bool
) -> None:
    """A2.18: batches first, events second, wherever in between the end comes."""
    place = running(user)
    store(place, [("text", "hello")])
    if last:
        end = partial(compaction.end_turn, place, message=said("hello"), ended=TurnEnded(status="completed"))
    else:
        end = partial(compaction.end_hop, place, said("hello", calls=1))

    result, _ = interrupted(partial(replay.read, place.conversation_id, after=0), by=end, before=moment)

    assert isinstance(result, tuple)
    page, draft = result
    messages = [entry for entry in page.entries if entry.kind == "assistant_message"]
    if messages:
        assert messages[0].data["text"] == "hello"
        assert draft is None or draft.after_seq < messages[0].seq, "a viewer drops what came before the event"
    else:
        assert runs(draft) == [("text", "hello")]
        assert draft is not None
        assert draft.after_seq == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(9))
def test_a_draft_of_a_turn_that_ends_without_a_message_while_it_is_read_is_dropped(user: User, moment: int) -> None:
    place = running(user)
    store(place, [("text", "withdrawn")])
    end = partial(compaction.end_turn, place, message=None, ended=TurnEnded(status="failed"))

    result, _ = interrupted(partial(replay.read, place.conversation_id, after=0), by=end, before=moment)

    assert isinstance(result, tuple)
    page, draft = result
    ends = [entry.seq for entry in page.entries if entry.kind == "turn_ended"]
    assert draft is None or draft.after_seq < min(ends, default=2)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(9))
def test_text_of_an_attempt_that_is_lost_while_it_is_read_is_not_taken_for_the_next_ones(
    user: User, moment: int
) -> None:
    """R7: it would be shown before what the next attempt says."""
    place = running(user, lease=-1.0)
    store(place, [("text", "withdrawn")])
    (turn,) = status.abandoned(status.LAPSED)
    lose = partial(takeover.take_over, turn, engine=uuid4(), lease=60.0)

    result, _ = interrupted(partial(replay.read, place.conversation_id, after=0), by=lose, before=moment)

    assert isinstance(result, tuple)
    page, draft = result
    restarts = [entry.seq for entry in page.entries if entry.kind == "turn_restarted"]
    assert draft is None or draft.after_seq < min(restarts, default=2)
