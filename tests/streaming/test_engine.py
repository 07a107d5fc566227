"""Turns in a real engine on a real database, seen by real viewers; each ends with the law of the log (see `stage`)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from access.errors import RateLimited
from access.principals import Principal
from history import compaction, status, stopping
from history.compaction import Place
from history.errors import NotFound
from history.events import AssistantMessage, ToolResult
from history.models import Conversation, DeltaBatch, Event, Turn
from llm.errors import Truncated
from llm.scripted import says
from llm.types import Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from streaming import ends, tasks
from streaming.database import in_order_thread, in_thread
from streaming.errors import Busy, InvalidRequest, RequestConflict, TextTooLong, TurnActive
from streaming.orders import Order
from streaming.turns import start_turn, stop_turn
from tests.fold import Folded
from tests.streaming.conftest import has_ended

ASKS_THE_TIME = (ToolCallDelta(index=0, id="c", name="current_time", arguments="{}"), Finish(reason="tool_calls"))


async def test_what_a_viewer_saw_is_what_is_stored(stage: Any) -> None:
    """A2.2, A2.18: deltas come at once; afterwards there is one message and no batch."""
    on = await stage([[ReasoningDelta(text="Hm."), TextDelta(text="Hel"), TextDelta(text="lo"), Finish(reason="stop")]])

    started = await on.send()
    folded = await on.watch(until=has_ended())

    kinds = [event["kind"] for event in folded.events.values()]
    assert kinds == ["user_message", "assistant_message", "turn_ended"]
    assert folded.events[2]["data"]["text"] == "Hello"
    assert await Turn.objects.values_list("status", flat=True).aget(pk=started.turn_id) == "completed"
    assert await DeltaBatch.objects.acount() == 0


async def test_a_tool_hop_is_in_the_log_in_the_order_in_which_it_happened(stage: Any) -> None:
    on = await stage([ASKS_THE_TIME, says("Now.")])

    await on.send()
    folded = await on.watch(until=has_ended())

    kinds = [event["kind"] for event in folded.events.values()]
    assert kinds == ["user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended"]


async def test_a_viewer_who_comes_in_mid_answer_gets_all_of_it_once(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])

    await on.send()
    first = await on.watch(until=lambda folded: folded.draft == "One ")
    second = await on.watch(until=lambda folded: folded.draft == "One ")
    more.set()
    await on.watch(until=has_ended(), after=first.reconnected().cursor, folded=first)

    await on.watch(until=has_ended(), after=second.reconnected().cursor, folded=second)
    assert first.events == second.events


async def test_an_answer_goes_on_when_everybody_has_left(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])

    await on.send()
    await on.watch(until=lambda folded: folded.draft == "One ")
    more.set()
    folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "One two"


async def test_a_draft_is_stored_while_the_model_is_silent(stage: Any) -> None:
    """A2.6."""
    on = await stage([[TextDelta(text="Hold on"), asyncio.Event()]])

    started = await on.send()
    async with asyncio.timeout(5):
        while not await DeltaBatch.objects.filter(turn_id=started.turn_id, text="Hold on").aexists():
            pass

    assert on.model.endings == []


async def test_a_stop_ends_the_turn_with_what_was_said(stage: Any) -> None:
    on = await stage([[TextDelta(text="One "), asyncio.Event()], says("Again.")])

    started = await on.send()
    folded = await on.watch(until=lambda folded: folded.draft == "One ")
    await in_thread(stop_turn, on.principal, started.turn_id)
    await on.watch(until=has_ended(), after=folded.reconnected().cursor, folded=folded)

    assert folded.events[2]["data"]["text"] == "One "
    assert folded.events[3]["data"]["status"] == "cancelled"
    assert on.model.endings == ["closed"]
    await on.send("next")
    await on.watch(until=has_ended(2))
    assert [message.text for message in on.model.requests[1].messages if hasattr(message, "text")][-1] == "next"


async def test_a_stop_from_elsewhere_in_the_process_reaches_the_turn(stage: Any) -> None:
    on = await stage([[TextDelta(text="One "), asyncio.Event()]])

    started = await on.send()
    await on.watch(until=lambda folded: folded.draft == "One ")
    await sync_to_async(stopping.stop)(started.turn_id)
    folded = await on.watch(until=has_ended())

    assert folded.events[3]["data"]["status"] == "cancelled"


async def test_a_stop_that_no_message_announced_is_found_in_the_table(stage: Any, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE_RENEWAL": 0.05}
    on = await stage([[TextDelta(text="One "), asyncio.Event()]])

    started = await on.send()
    await on.watch(until=lambda folded: folded.draft == "One ")
    await Turn.objects.filter(pk=started.turn_id).aupdate(status="stopping")
    folded = await on.watch(until=has_ended())

    assert folded.events[3]["data"]["status"] == "cancelled"


async def test_an_upstream_that_breaks_off_is_never_a_completed_turn(stage: Any) -> None:
    on = await stage([[TextDelta(text="Half"), Truncated()]])

    started = await on.send()
    folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "Half"
    assert folded.events[3]["data"]["error"]["code"] == "truncated"
    assert await Turn.objects.values_list("status", "error_code").aget(pk=started.turn_id) == ("failed", "truncated")


async def test_the_same_request_id_is_the_same_turn_while_it_runs_and_afterwards(stage: Any) -> None:
    """A2.19, A2.20."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One"), more, Finish(reason="stop")]])

    first = await on.send("hi", request_id="r1")
    running = await on.send("hi", request_id="r1")
    more.set()
    await on.watch(until=has_ended())
    ended = await on.send("hi", request_id="r1")

    assert first.turn_id == running.turn_id == ended.turn_id
    assert (first.fresh, running.fresh, ended.fresh) == (True, False, False)
    assert (running.ended, ended.ended) == (False, True)
    assert first.begin == ended.begin
    assert len(on.model.requests) == 1


async def test_a_request_id_cannot_be_used_for_another_message(stage: Any) -> None:
    on = await stage([says("ok")])
    await on.send("hi", request_id="r1")

    with pytest.raises(RequestConflict):
        await on.send("something else", request_id="r1")


async def test_many_callers_with_one_request_id_make_one_turn(stage: Any) -> None:
    on = await stage([says("ok")])

    started = await asyncio.gather(*(on.send("hi", request_id="r1") for _ in range(20)))

    assert len({each.turn_id for each in started}) == 1
    assert sum(each.fresh for each in started) == 1
    await on.watch(until=has_ended())
    assert len(on.model.requests) == 1


async def test_a_message_during_an_answer_is_refused_with_the_turn_that_is_active(stage: Any) -> None:
    on = await stage([[asyncio.Event()]])
    started = await on.send()

    with pytest.raises(TurnActive) as refused:
        await on.send("too early")

    assert refused.value.turn_id == str(started.turn_id)
    assert await Event.objects.filter(kind="user_message").acount() == 1


async def test_a_user_cannot_have_more_turns_than_the_limit(stage: Any, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "MAX_TURNS_PER_USER": 0}
    on = await stage([])

    with pytest.raises(RateLimited):
        await on.send()


@pytest.mark.parametrize("text", ["", "  \n", "a\0b", "half \ud83d", None])
async def test_text_that_cannot_be_a_message_is_refused_and_nothing_is_stored(stage: Any, text: str | None) -> None:
    on = await stage([])

    with pytest.raises(InvalidRequest):
        await on.send(text)

    assert not await Event.objects.aexists()


async def test_a_text_of_the_longest_allowed_length_is_taken_and_one_more_is_not(stage: Any) -> None:
    on = await stage([says("ok")])

    with pytest.raises(TextTooLong):
        await on.send("a" * 100_001)

    await on.send("😀" * 100_000)
    folded = await on.watch(until=has_ended())
    assert folded.events[1]["data"]["text"] == "😀" * 100_000


async def test_a_foreign_conversation_is_as_good_as_missing(stage: Any) -> None:
    on = await stage([])
    stranger = Principal(user_id=on.user.pk + 1)

    with pytest.raises(NotFound):
        await in_thread(start_turn, stranger, uuid4(), Order(request_id="r", text="hi"))


async def test_a_turn_follows_the_one_before_and_its_model_knows_what_was_said(stage: Any) -> None:
    on = await stage([says("one"), says("two")])
    first = await on.send("a")
    await on.watch(until=has_ended(1))

    second = await on.send("b")
    folded = await on.watch(until=has_ended(2))

    assert await Turn.objects.values_list("parent_id", flat=True).aget(pk=second.turn_id) == first.turn_id
    assert [getattr(message, "text", "") for message in on.model.requests[1].messages] == ["a", "one", "b"]
    asked = [event["data"] for event in folded.events.values() if event["kind"] == "user_message"]
    assert [data["parent"] for data in asked] == [None, str(first.turn_id)]


async def test_a_retry_is_a_sibling_that_asks_the_old_message_again(stage: Any) -> None:
    on = await stage([says("one"), [TextDelta(text="tw"), Truncated()], says("two")])
    first = await on.send("a")
    await on.watch(until=has_ended(1))
    failed = await on.send("b")
    await on.watch(until=has_ended(2))

    retried = await on.send(None, replaces=failed.turn_id)
    folded = await on.watch(until=has_ended(3))

    turn = await Turn.objects.aget(pk=retried.turn_id)
    assert (turn.parent_id, turn.replaces_id) == (first.turn_id, failed.turn_id)
    asked = [event["data"]["text"] for event in folded.events.values() if event["kind"] == "user_message"]
    assert asked == ["a", "b", "b"]
    assert [getattr(message, "text", "") for message in on.model.requests[2].messages] == ["a", "one", "b"]


async def test_a_queued_turn_without_a_process_is_launched(stage: Any, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE_RENEWAL": 0.05}
    on = await stage([says("Here I am.")])
    turn = await Turn.objects.acreate(
        conversation_id=on.conversation_id, owner=on.user, options={"profile": "demo"}, status="queued"
    )

    folded = await on.watch(until=has_ended())

    assert folded.events[1]["turn"] == str(turn.pk)
    assert folded.events[1]["data"]["text"] == "Here I am."


async def test_a_viewer_who_saw_more_than_is_stored_is_told_to_forget_it(stage: Any, settings: Any) -> None:
    """R7."""
    settings.CHAT = {**settings.CHAT, "MISSING_DRAFT": 0.05}
    on = await stage([])

    folded = Folded(runs=[("text", "seen but lost")])
    await on.watch(until=lambda folded: folded.resets == 1, after="0.13", folded=folded)

    assert (folded.runs, folded.cursor) == ([], "0.0")


async def test_a_position_beyond_the_log_is_reset_to_the_beginning(stage: Any) -> None:
    on = await stage([says("ok")])
    await on.send()
    whole = await on.watch(until=has_ended())

    folded = Folded(events={number: {} for number in range(1, 100)})
    await on.watch(until=lambda folded: folded.caught_up, after="99.5", folded=folded)

    assert folded.resets == 1
    assert folded.events == whole.events


async def test_a_drained_engine_has_stored_everything_it_showed(stage: Any) -> None:
    """R8: SIGTERM and Ctrl-C lose nothing; the turn is nobody's, for whoever comes next."""
    on = await stage([[TextDelta(text="To the last "), TextDelta(text="letter"), asyncio.Event()]])
    await on.send()
    await on.watch(until=lambda folded: folded.draft == "To the last letter")

    await on.engine.drain(patience=0.0)

    stored = DeltaBatch.objects.order_by("start").values_list("text", flat=True)
    assert "".join([text async for text in stored]) == "To the last letter"
    assert await Turn.objects.values_list("status", "engine").aget() == ("running", None)


async def test_a_turn_that_is_deleted_elsewhere_is_stopped_and_leaves_nothing_behind(stage: Any, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE_RENEWAL": 0.05}
    on = await stage([[TextDelta(text="secret"), asyncio.Event()]])
    await on.send()
    await on.watch(until=lambda folded: folded.draft == "secret")

    await sync_to_async(delete_without_a_word)(on.conversation_id)

    async with asyncio.timeout(10):
        await asyncio.gather(*(running.task for running in on.engine.tasks._running.values()))
    assert on.model.endings == ["closed"]
    assert not await DeltaBatch.objects.aexists()


def delete_without_a_word(conversation_id: UUID) -> None:
    """As a shell or another process does."""
    Event.objects.filter(conversation_id=conversation_id).delete()
    Turn.objects.filter(conversation_id=conversation_id).delete()
    Conversation.objects.filter(pk=conversation_id).delete()


async def test_a_claim_whose_answer_was_lost_is_asked_again_and_still_holds(stage: Any) -> None:
    on = await stage([])
    turn = await Turn.objects.acreate(conversation_id=on.conversation_id, owner=on.user)
    mine = uuid4()  # not the engine that runs here, whose keeper goes on with any turn that is its own without a task

    claims = [await in_thread(status.claim, turn.pk, engine=mine, lease=10.0) for _ in range(2)]
    foreign = await in_thread(status.claim, turn.pk, engine=uuid4(), lease=10.0)

    assert (claims, foreign) == ([1, 1], None)
    assert await Turn.objects.values_list("attempt", flat=True).aget(pk=turn.pk) == 1


async def test_a_task_that_fails_ends_only_what_its_engine_owns(stage: Any) -> None:
    on = await stage([])
    turn = await Turn.objects.acreate(
        conversation_id=on.conversation_id, owner=on.user, status="running", attempt=1, engine=uuid4()
    )

    await on.engine.tasks._give_up(turn.pk, ends.INTERNAL)

    assert await Turn.objects.values_list("status", flat=True).aget(pk=turn.pk) == "running"


async def test_the_writes_of_a_hop_may_be_asked_twice(stage: Any) -> None:
    """A commit whose answer got lost is no error, and viewers hear of it."""
    on = await stage([])
    turn = await Turn.objects.acreate(
        conversation_id=on.conversation_id, owner=on.user, status="running", attempt=1, engine=uuid4()
    )
    place = Place(on.conversation_id, turn.pk, 1)
    message = AssistantMessage(hop=0, text="One", runs=(("text", 3),))
    result = ToolResult(hop=0, index=0, tool_call_id="c", name="f", content="2")

    for _ in range(2):
        await in_thread(compaction.end_hop, place, message)
        await in_thread(compaction.add_result, place, result)

    assert [event.kind async for event in Event.objects.order_by("seq")] == ["assistant_message", "tool_result"]


async def test_a_locked_user_keeps_nobody_else_waiting(stage: Any) -> None:
    on = await stage([])
    if connection.vendor != "postgresql":
        assert connection.vendor == "sqlite", "one lock for all: nothing to keep apart"
        return
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            get_user_model().objects.select_for_update().get(pk=on.user.pk)
            held.set()
            release.wait(30)
        connection.close()

    holder = asyncio.create_task(asyncio.to_thread(hold))
    await asyncio.to_thread(held.wait, 10)
    sends = [asyncio.create_task(in_order_thread(start_turn, on.principal, on.conversation_id, ORDER)) for _ in "ab"]

    await on.fresh()

    assert not any(send.done() for send in sends)
    assert [type(refusal) for refusal in await asyncio.gather(*sends, return_exceptions=True)] == [Busy, Busy]
    release.set()
    await holder


ORDER = Order(request_id=None, text="hi")


async def test_what_was_shown_is_stored_even_if_the_loop_itself_breaks(stage: Any, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "BATCH_INTERVAL": 60.0}
    on = await stage([[TextDelta(text="So far, so good"), Usage(prompt=1, completion=1), Finish(reason="stop")]])

    def costs_too_much(usage: Usage, *, prices: object) -> None:
        raise ArithmeticError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "cost", costs_too_much)
        await on.send()
        folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "So far, so good"
    assert folded.events[3]["data"]["error"]["code"] == "internal"
