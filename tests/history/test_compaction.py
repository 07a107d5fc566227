"""How hops and turns end: once, in one transaction, with everything that was said."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, OperationalError

from history import compaction, replay, status
from history.committed import Committed
from history.compaction import Place
from history.errors import Fenced, NotFound
from history.events import AssistantMessage, ToolResult, TurnEnded, TurnError
from history.models import DeltaBatch, Event, Status, Turn
from llm.types import ToolCall, Usage
from tests.history.stage import (
    answered,
    at_once,
    batches,
    claimed,
    engine_of,
    entries,
    interrupted,
    kinds,
    new_conversation,
    new_turn,
    place_of,
    running,
    said,
    store,
)

GONE = TurnError(code="interrupted", message="The server stopped.")
COMPLETED = TurnEnded(status="completed", finish_reason="stop")


def end(place: Place, text: str | None = "bye", *, hop: int = 0) -> None:
    message = None if text is None else said(text, hop=hop)
    compaction.end_turn(place, message=message, ended=COMPLETED)


def give_up(place: Place) -> None:
    compaction.end_broken(place.turn_id, engine=engine_of(place), error=GONE)


def state(place: Place) -> str:
    return Turn.objects.values_list("status", flat=True).get(pk=place.turn_id)


@pytest.mark.django_db
def test_after_a_hop_there_are_no_batches_and_one_message(user: User) -> None:
    """A2.18."""
    place = running(user)
    store(place, [("text", "he")], [("text", "llo")])

    compaction.end_hop(place, said("hello", calls=1))

    assert batches(place.turn_id) == []
    assert kinds(place.conversation_id) == ["user_message", "assistant_message"]
    assert entries(place.conversation_id)[1][2]["text"] == "hello"


@pytest.mark.django_db
def test_a_hop_takes_only_its_own_batches(user: User) -> None:
    place, other = running(user), running(user)
    store(place, [("text", "now")])
    store(place, [("text", "next")], hop=1)
    store(other, [("text", "else")])

    compaction.end_hop(place, said("now", calls=1))

    assert batches(place.turn_id) == [(0, "next")]
    assert batches(other.turn_id) == [(0, "else")]


@pytest.mark.django_db(transaction=True)
def test_ending_a_hop_twice_changes_nothing(user: User, told: list[Committed]) -> None:
    """A2.18, A2.26h: whoever did not hear of its commit may ask again, and those who follow hear where the log is."""
    place = running(user)
    compaction.end_hop(place, said("hello", calls=1))
    store(place, [("text", "next")], hop=1)
    before = entries(place.conversation_id), batches(place.turn_id)
    told.clear()

    compaction.end_hop(place, said("hello", calls=1))

    assert (entries(place.conversation_id), batches(place.turn_id)) == before
    assert [(change.conversation_id, change.last_seq, change.entries) for change in told] == [
        (place.conversation_id, 2, ())
    ]


@pytest.mark.django_db(transaction=True)
def test_a_tool_answers_once(user: User) -> None:
    """R13."""
    place = running(user)
    compaction.end_hop(place, said("a", calls=2))
    compaction.add_result(place, answered("one"))

    compaction.add_result(place, answered("one, again"))
    compaction.add_result(place, answered("two", index=1))

    results = [(seq, data["content"]) for seq, kind, data in entries(place.conversation_id) if kind == "tool_result"]
    assert results == [(3, "one"), (4, "two")]


@pytest.mark.django_db(transaction=True)
def test_a_write_that_is_refused_for_another_reason_is_not_taken_for_done(user: User) -> None:
    place = running(user)
    Event.objects.create(conversation_id=place.conversation_id, seq=2, kind="weather_report", data={})

    with pytest.raises(IntegrityError):
        compaction.end_hop(place, said("hello", calls=1))

    assert kinds(place.conversation_id) == ["user_message", "weather_report"]


@pytest.mark.django_db(transaction=True)
def test_what_a_model_wants_done_is_stored_before_what_the_tools_say(user: User) -> None:
    """A2.12, R13: results without the call that asked for them cannot be told to a provider."""
    place = running(user)

    compaction.end_hop(place, said("let me look", calls=2))
    compaction.add_result(place, answered("second", index=1))
    compaction.add_result(place, answered("first", index=0))
    end(place, "done", hop=1)

    assert kinds(place.conversation_id) == [
        "user_message",
        "assistant_message",
        "tool_result",
        "tool_result",
        "assistant_message",
        "turn_ended",
    ]
    calls = entries(place.conversation_id)[1][2]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_0_0", "call_0_1"]


@pytest.mark.django_db(transaction=True)
def test_nobody_who_reads_while_hops_end_sees_a_text_twice_or_not_at_all(user: User) -> None:
    """A2.18: readers never see both the draft and its message, nor neither."""
    hops = 40
    place = running(user)
    stored: list[int] = []

    def write() -> None:
        for hop in range(hops):
            store(place, [("text", f"hop {hop}")], hop=hop)
            stored.append(hop)
            compaction.end_hop(place, said(f"hop {hop}", hop=hop, calls=1))
        end(place, "bye", hop=hops)

    def read() -> list[str]:
        seen, drafts = 0, []
        while seen <= hops:
            known = len(stored)
            page, draft = replay.read(place.conversation_id, after=0)
            messages = {entry.data["hop"]: entry.seq for entry in page.entries if entry.kind == "assistant_message"}
            shown = [f"hop {hop}" for hop in sorted(messages)]
            if draft is not None and draft.after_seq >= max(messages.values(), default=0):  # what a viewer follows
                assert draft.hop not in messages, "both"
                shown.append("".join(part.text for part in draft.parts))
                drafts.append(shown[-1])
            assert shown[:known] == [f"hop {hop}" for hop in range(known)], "neither"
            seen = len(messages)
        return drafts

    written, *readers = at_once(write, read, read)

    assert written is None
    assert all(isinstance(drafts, list) for drafts in readers), readers


@pytest.mark.django_db
def test_the_end_of_a_turn_leaves_one_message_one_end_and_no_batch(user: User) -> None:
    """A2.18, R9."""
    place = running(user)
    store(place, [("text", "by")])
    DeltaBatch.objects.create(turn_id=place.turn_id, attempt=0, hop=5, start=0, text="left over", runs=[])

    end(place)

    assert kinds(place.conversation_id) == ["user_message", "assistant_message", "turn_ended"]
    assert batches(place.turn_id) == []
    assert state(place) == Status.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_a_turn_ends_once_however_many_end_it_at_once(user: User) -> None:
    """R9: its own task, the one that gives up on it, and those who think its process dead."""
    for _ in range(4):
        place = running(user, lease=-1)
        store(place, [("text", "half")])

        results = at_once(
            partial(end, place),
            partial(end, place, None),
            partial(compaction.end_lapsed, place, error=GONE, still=status.LAPSED),
            partial(compaction.end_lapsed, place, error=GONE, still=status.LAPSED),
            partial(give_up, place),
        )

        assert [result for result in results if not isinstance(result, Fenced | None)] == []
        assert kinds(place.conversation_id).count("turn_ended") == 1
        assert kinds(place.conversation_id).count("assistant_message") <= 1
        assert Event.objects.filter(turn_id=place.turn_id).latest("seq").data["status"] == state(place)
        assert batches(place.turn_id) == []


@pytest.mark.django_db(transaction=True)
def test_an_end_that_cannot_be_stored_leaves_the_turn_and_its_batches_as_they_were(user: User) -> None:
    place = running(user)
    store(place, [("text", "kept")])
    message = said("half a character: \ud800")

    with pytest.raises((DatabaseError, ValueError)):
        compaction.end_turn(place, message=message, ended=COMPLETED)

    assert kinds(place.conversation_id) == ["user_message"]
    assert batches(place.turn_id) == [(0, "kept")]
    assert state(place) == Status.RUNNING


@pytest.mark.django_db
def test_a_lapsed_turn_keeps_what_was_stored_of_it(user: User) -> None:
    """A2.7: the partial answer stays readable, with its channels in order of arrival."""
    place = running(user, lease=-1)
    Turn.objects.filter(pk=place.turn_id).update(model="gpt")
    store(
        place,
        [("reasoning", "Let me "), ("reasoning", "think. "), ("text", "The ")],
        [("text", "ans"), ("reasoning", "Hm. ")],
        [("text", "wer \U0001f600")],
    )

    compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    _, kind, message = entries(place.conversation_id)[1]
    assert kind == "assistant_message"
    assert message["text"] == "The answer \U0001f600"
    assert message["reasoning"] == "Let me think. Hm. "
    assert message["runs"] == [["reasoning", 14], ["text", 7], ["reasoning", 4], ["text", 5]]
    assert (message["hop"], message["finish_reason"], message["model"]) == (0, "interrupted", "gpt")
    assert batches(place.turn_id) == []
    assert state(place) == Status.FAILED
    ended = entries(place.conversation_id)[2]
    assert ended[1:] == ("turn_ended", {"status": "failed", "error": {"code": "interrupted", "message": GONE.message},
                                       "usage": None, "cost": None, "finish_reason": None})  # fmt: skip


@pytest.mark.django_db
def test_a_lapsed_turn_answers_every_call_that_was_left_open(user: User) -> None:
    """A2.11, A2.12: whatever died, every call has its one result, and finished ones stay as they are (R13)."""
    place = running(user, lease=-1)
    compaction.end_hop(place, said("a", calls=3))
    compaction.add_result(place, answered("done", index=1))

    compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    results = [data for _, kind, data in entries(place.conversation_id) if kind == "tool_result"]
    assert [(data["index"], data["tool_call_id"], data["content"], data["is_error"]) for data in results] == [
        (1, "call_0_1", "done", False),
        (0, "call_0_0", compaction.INTERRUPTED, True),
        (2, "call_0_2", compaction.INTERRUPTED, True),
    ]
    assert kinds(place.conversation_id)[-1] == "turn_ended"


@pytest.mark.django_db
@pytest.mark.parametrize("stop_first", [False, True])
def test_a_lapsed_turn_says_what_its_calls_have_used(user: User, stop_first: bool) -> None:
    """R23: as far as anybody knows it; the last call was broken off."""
    place = running(user, lease=-1)
    compaction.end_hop(place, msgspec.structs.replace(said("a", calls=1), usage=Usage(prompt=5, completion=7)))
    compaction.end_hop(place, msgspec.structs.replace(said("b", hop=1, calls=1), usage=Usage(prompt=11)))
    store(place, [("text", "half")], hop=2)
    if stop_first:
        status.request_stop(place.turn_id)

    compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    ended = entries(place.conversation_id)[-1][2]
    assert ended["usage"] == {"prompt": 16, "completion": 7}
    assert ended["finish_reason"] == ("cancelled" if stop_first else None)
    assert Turn.objects.values_list("prompt_tokens", "completion_tokens").get() == (16, 7)


@pytest.mark.django_db
def test_a_lapsed_turn_keeps_the_text_of_its_last_hop_only(user: User) -> None:
    """The hops before it have their messages; batches of an older attempt are withdrawn text."""
    place = running(user, lease=-1)
    compaction.end_hop(place, said("first", calls=1))
    compaction.add_result(place, answered("done"))
    store(Place(place.conversation_id, place.turn_id, 0), [("text", "withdrawn")], hop=1)
    store(place, [("text", "second")], hop=1)

    compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    messages = [data for _, kind, data in entries(place.conversation_id) if kind == "assistant_message"]
    assert [(data["hop"], data["text"]) for data in messages] == [(0, "first"), (1, "second")]
    assert batches(place.turn_id) == []


@pytest.mark.django_db
def test_a_lapsed_turn_that_was_to_stop_is_cancelled(user: User) -> None:
    place = running(user, lease=-1)
    store(place, [("text", "half")])
    assert status.request_stop(place.turn_id)

    compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    assert state(place) == Status.CANCELLED
    assert [data["status"] for _, kind, data in entries(place.conversation_id) if kind == "turn_ended"] == ["cancelled"]
    assert entries(place.conversation_id)[1][2]["text"] == "half"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("alive", ["leased", "queued", "ended", "newer attempt"])
def test_a_turn_that_has_not_lapsed_is_left_alone(user: User, alive: str) -> None:
    """R10."""
    turn = new_turn(new_conversation(user))
    place = place_of(turn) if alive == "queued" else claimed(turn, lease=60 if alive == "leased" else -1)
    if alive == "ended":
        end(place)
    if alive == "newer attempt":
        place = Place(place.conversation_id, place.turn_id, place.attempt - 1)
    before = entries(place.conversation_id), state(place)

    with pytest.raises(Fenced):
        compaction.end_lapsed(place, error=GONE, still=status.LAPSED)

    assert (entries(place.conversation_id), state(place)) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(8))
def test_a_turn_that_is_renewed_while_it_is_being_ended_is_left_alone(user: User, moment: int) -> None:
    """R10: a living process's turns are never taken, wherever in between its renewal arrives."""
    engine = uuid4()
    place = claimed(new_turn(new_conversation(user)), engine=engine, lease=-1)

    def renew() -> bool:
        status.renew([place.turn_id], engine=engine, lease=60)
        return not status.abandoned(status.LAPSED)

    ended, renewed = interrupted(
        partial(compaction.end_lapsed, place, error=GONE, still=status.LAPSED), by=renew, before=moment
    )

    assert isinstance(ended, Fenced) if renewed is True else ended is None
    assert state(place) == (Status.RUNNING if renewed is True else Status.FAILED)
    assert renewed in (True, False, None) or isinstance(renewed, OperationalError), "it does not wait for the lock"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(8))
def test_a_turn_that_is_claimed_while_it_is_being_cancelled_is_one_or_the_other(user: User, moment: int) -> None:
    """Edges b and g, wherever in between the claim arrives."""
    turn = new_turn(new_conversation(user))

    cancelled, claim = interrupted(
        partial(compaction.cancel_queued, turn.conversation_id, turn_id=turn.pk),
        by=partial(status.claim, turn.pk, engine=uuid4(), lease=60),
        before=moment,
    )

    assert cancelled is not (claim == 1)
    assert state(place_of(turn)) == (Status.CANCELLED if cancelled else Status.RUNNING)
    assert kinds(turn.conversation_id) == (["user_message", "turn_ended"] if cancelled else ["user_message"])


@pytest.mark.django_db
def test_a_turn_that_nobody_has_begun_is_cancelled_at_once(user: User) -> None:
    """Edge g."""
    turn = new_turn(new_conversation(user))

    assert compaction.cancel_queued(turn.conversation_id, turn_id=turn.pk) is True
    assert compaction.cancel_queued(turn.conversation_id, turn_id=turn.pk) is False

    assert state(place_of(turn)) == Status.CANCELLED
    assert kinds(turn.conversation_id) == ["user_message", "turn_ended"]


@pytest.mark.django_db(transaction=True)
def test_one_of_many_who_cancel_a_queued_turn_does(user: User) -> None:
    turn = new_turn(new_conversation(user))

    won = at_once(*[partial(compaction.cancel_queued, turn.conversation_id, turn_id=turn.pk)] * 5)

    assert sorted(map(bool, won)) == [False] * 4 + [True]
    assert kinds(turn.conversation_id) == ["user_message", "turn_ended"]


@pytest.mark.django_db
def test_a_broken_turn_ends_with_what_is_stored_of_it(user: User) -> None:
    """A2.7."""
    place = running(user)
    compaction.end_hop(place, said("a", calls=1))
    store(place, [("text", "half")], hop=1)

    give_up(place)

    assert [(kind, data.get("text", data.get("content"))) for _, kind, data in entries(place.conversation_id)] == [
        ("user_message", "hi"),
        ("assistant_message", "a"),
        ("tool_result", compaction.INTERRUPTED),
        ("assistant_message", "half"),
        ("turn_ended", None),
    ]
    assert state(place) == Status.FAILED
    assert Turn.objects.get().error_code == "interrupted"


@pytest.mark.django_db
def test_a_broken_turn_that_was_to_stop_is_cancelled(user: User) -> None:
    place = running(user)
    store(place, [("text", "half")])
    assert status.request_stop(place.turn_id)

    give_up(place)

    assert state(place) == Status.CANCELLED
    assert [data["status"] for _, kind, data in entries(place.conversation_id) if kind == "turn_ended"] == ["cancelled"]


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["queued", "somebody else's", "ended", "gone"])
def test_an_engine_gives_up_its_own_active_turns_only(user: User, which: str) -> None:
    """R10. What was never claimed stays queued, for whoever can run it."""
    place = place_of(new_turn(new_conversation(user))) if which == "queued" else running(user)
    if which == "ended":
        end(place)
    engine = engine_of(place) if which == "ended" else uuid4()
    before = entries(place.conversation_id), state(place)

    compaction.end_broken(uuid4() if which == "gone" else place.turn_id, engine=engine, error=GONE)

    assert (entries(place.conversation_id), state(place)) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", range(4))
def test_a_turn_that_ends_while_somebody_gives_up_on_it_ends_once(user: User, moment: int) -> None:
    """R9."""
    place = running(user)

    broken, ended = interrupted(partial(give_up, place), by=partial(end, place), before=moment)

    assert broken is None, "nothing happens if it has ended already"
    assert kinds(place.conversation_id).count("turn_ended") == 1
    assert state(place) == (Status.COMPLETED if ended is None else Status.FAILED)


@pytest.mark.django_db
def test_writing_into_a_conversation_that_is_gone_is_not_found(user: User) -> None:
    place = Place(uuid4(), uuid4(), 1)
    result = ToolResult(hop=0, index=0, tool_call_id="x", name="n", content="c")
    writes: list[Any] = [
        partial(compaction.end_hop, place, said("a")),
        partial(compaction.add_result, place, result),
        partial(compaction.end_turn, place, message=None, ended=COMPLETED),
        partial(compaction.end_lapsed, place, error=GONE, still=status.LAPSED),
        partial(compaction.cancel_queued, place.conversation_id, turn_id=place.turn_id),
    ]

    for write in writes:
        with pytest.raises(NotFound):
            write()


@pytest.mark.django_db
def test_calls_without_a_result_are_found_across_hops_and_by_number(user: User) -> None:
    """A2.8: ids may be repeated or empty; the number of the call counts."""
    place = running(user)
    twins = (ToolCall(id="", name="a", arguments="{}"), ToolCall(id="", name="b", arguments="{}"))
    compaction.end_hop(place, AssistantMessage(hop=0, tool_calls=twins))
    compaction.add_result(place, ToolResult(hop=0, index=1, tool_call_id="", name="b", content="c"))
    compaction.end_hop(place, AssistantMessage(hop=1, tool_calls=twins))

    missing = compaction.unanswered(compaction.spoken(place.turn_id))

    assert [(result.hop, result.index, result.name) for result in missing] == [(0, 0, "a"), (1, 0, "a"), (1, 1, "b")]
    assert all(result.is_error for result in missing)
