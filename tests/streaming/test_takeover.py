"""Turns that were left by their process, gone on with by a real engine on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from history import compaction, replay
from history.compaction import Place
from history.events import AssistantMessage, ToolResult, UserMessage
from history.log import appending
from history.models import Conversation, DeltaBatch, Event, Turn
from llm.scripted import says
from llm.types import Finish, TextDelta, ToolCall, ToolCallDelta, Usage
from streaming.database import in_thread
from tests.streaming.conftest import has_ended
from tools.tool import tool

LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)
RAN: list[str] = []


@tool(idempotent=True)
def look() -> str:
    """Look again, as often as you like."""
    RAN.append("look")
    return "seen"


@tool
def act() -> str:
    """Do it, but once."""
    RAN.append("act")
    return "done"


@pytest.fixture(autouse=True)
def hasty(settings: Any) -> None:
    """A process that soon looks after others' turns."""
    RAN.clear()
    tools = [f"{__name__}.look", f"{__name__}.act"]
    settings.CHAT = {**settings.CHAT, "LEASE": 0.2, "LEASE_RENEWAL": 0.05, "TOOLS": tools}


async def left(stage: Any, **fields: Any) -> Place:
    """A turn that another process was running, in its first attempt, which has said `So far`."""
    fields = {
        "status": "running", "attempt": 1, "engine": uuid4(), "lease_expires_at": LONG_AGO,
        "options": {"profile": "demo"}, **fields,
    }  # fmt: skip
    turn = await Turn.objects.acreate(conversation_id=stage.conversation_id, owner=stage.user, **fields)
    await DeltaBatch.objects.acreate(turn_id=turn.pk, attempt=1, hop=0, start=0, text="So far", runs=[["text", 6]])
    return Place(stage.conversation_id, turn.pk, 1)


@sync_to_async
def has_asked_for(place: Place, *names: str, results: tuple[ToolResult, ...] = ()) -> None:
    """Its first hop asked for these tools, and has these results."""
    calls = tuple(ToolCall(id=f"c{index}", name=name, arguments="{}") for index, name in enumerate(names))
    message = AssistantMessage(
        hop=0, text="Let me see.", tool_calls=calls, finish_reason="tool_calls", usage=Usage(prompt=5, completion=7)
    )
    with appending(place.conversation_id) as log:
        log.append(place.turn_id, UserMessage(text="Well?"))
    compaction.end_hop(place, message)
    for result in results:
        compaction.add_result(place, result)


def result(index: int, name: str, content: str) -> ToolResult:
    return ToolResult(hop=0, index=index, tool_call_id=f"c{index}", name=name, content=content)


async def test_a_turn_whose_process_is_gone_is_asked_again_and_what_was_shown_of_it_is_withdrawn(stage: Any) -> None:
    """R10."""
    on = await stage([says("All of it.")])
    await left(on)

    folded = await on.watch(until=has_ended())

    assert [event["kind"] for event in folded.events.values()] == ["turn_restarted", "assistant_message", "turn_ended"]
    assert folded.events[1]["data"] == {"attempt": 2, "hop": 0, "reason": "lost"}
    assert folded.events[2]["data"]["text"] == "All of it."
    turn = await Turn.objects.aget()
    assert (turn.status, turn.attempt, turn.losses, turn.engine) == ("completed", 2, 1, on.engine.id)


async def test_a_turn_that_was_being_stopped_is_not_asked_again(stage: Any) -> None:
    on = await stage([])
    await left(on, status="stopping")

    folded = await on.watch(until=has_ended())

    assert [event["kind"] for event in folded.events.values()] == ["assistant_message", "turn_ended"]
    assert folded.events[1]["data"]["text"] == "So far"
    assert folded.events[2]["data"]["status"] == "cancelled"


async def test_a_turn_that_was_lost_twice_fails_and_what_was_said_is_kept(stage: Any) -> None:
    on = await stage([])
    await left(on, losses=1)

    folded = await on.watch(until=has_ended())

    assert folded.events[1]["data"]["text"] == "So far"
    assert folded.events[2]["data"]["error"]["code"] == "interrupted"


async def test_a_turn_that_was_released_is_nobodys_loss_and_needs_no_lease_to_be_taken(
    stage: Any, settings: Any
) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE": 600.0}
    on = await stage([says("All of it.")])
    await left(on, engine=None, losses=1)

    folded = await on.watch(until=has_ended())

    assert folded.events[1]["data"]["reason"] == "released"
    assert await Turn.objects.values_list("status", "losses").aget() == ("completed", 1)


async def test_a_tool_that_may_have_taken_effect_is_run_again_only_if_that_does_no_harm(stage: Any) -> None:
    """R13. The call that has its result is left alone; of the others, one is idempotent."""
    on = await stage([[TextDelta(text="So."), Usage(prompt=11, completion=2), Finish(reason="stop")]])
    place = await left(on)
    await has_asked_for(place, "look", "act", "look", results=(result(0, "look", "seen before"),))

    folded = await on.watch(until=has_ended())

    results = {
        event["data"]["index"]: event["data"] for event in folded.events.values() if event["kind"] == "tool_result"
    }
    assert RAN == ["look"]
    assert [results[index]["content"] for index in range(3)] == ["seen before", compaction.INTERRUPTED, "seen"]
    assert results[1]["is_error"]
    asked = on.model.requests[0].messages[-4:]
    assert [type(message).__name__ for message in asked] == ["AssistantMessage", *["ToolMessage"] * 3]
    assert [message.content for message in asked[1:]] == ["seen before", compaction.INTERRUPTED, "seen"]
    usage = folded.events[max(folded.events)]["data"]["usage"]
    assert (usage["prompt"], usage["completion"]) == (16, 9)


async def test_a_turn_whose_tools_had_all_answered_goes_on_with_the_next_hop(stage: Any) -> None:
    on = await stage([says("So.")])
    place = await left(on)
    await has_asked_for(place, "act", results=(result(0, "act", "done before"),))

    folded = await on.watch(until=has_ended())

    assert RAN == []
    said = [event["data"]["hop"] for event in folded.events.values() if event["kind"] == "assistant_message"]
    assert said == [0, 1]
    assert [getattr(message, "content", "") for message in on.model.requests[0].messages][-1] == "done before"


async def test_what_is_said_after_tools_that_were_gone_on_with_is_stored_as_the_next_hop(stage: Any) -> None:
    """Else nobody elsewhere could see it, and a second loss could not be mended."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="So."), more, Finish(reason="stop")]])
    place = await left(on)
    await has_asked_for(place, "look")
    await on.watch(until=lambda folded: folded.draft == "So.")

    await asyncio.wrap_future(on.engine.writer.run(on.engine.writer.flush))
    _, draft = await in_thread(replay.read, on.conversation_id, after=0)

    assert draft is not None
    assert (draft.hop, draft.text_of("text")) == (1, "So.")
    more.set()
    await on.watch(until=has_ended())


async def test_a_turn_of_ours_that_never_had_a_task_begins_at_once_and_nothing_is_lost(
    stage: Any, settings: Any
) -> None:
    """Its commit was made, and not heard of: whoever made it was told `busy`, perhaps."""
    settings.CHAT = {**settings.CHAT, "LEASE": 600.0}
    on = await stage([says("All of it.")])
    far = datetime(2100, 1, 1, tzinfo=UTC)
    fields = {"status": "running", "attempt": 1, "engine": on.engine.id, "options": {"profile": "demo"}}
    await Turn.objects.acreate(conversation_id=on.conversation_id, owner=on.user, lease_expires_at=far, **fields)

    folded = await on.watch(until=has_ended())

    assert [event["kind"] for event in folded.events.values()] == ["assistant_message", "turn_ended"]
    assert await Turn.objects.values_list("status", "attempt", "losses").aget() == ("completed", 1, 0)


async def test_the_turn_of_a_living_process_is_left_alone(stage: Any) -> None:
    """R10: however long we have been well ourselves."""
    on = await stage([says("Mine.")])
    foreign = await left(on, lease_expires_at=datetime(2100, 1, 1, tzinfo=UTC))

    async with asyncio.timeout(10):
        while not on.engine.keeper.is_well(0.2):
            await in_thread(on.engine.keeper.round)
    await asyncio.to_thread(on.engine.keeper.stop)

    row = await Turn.objects.values_list("attempt", "engine").aget(pk=foreign.turn_id)
    assert row[0] == 1
    assert row[1] != on.engine.id
    await Turn.objects.filter(pk=foreign.turn_id).aupdate(status="failed")


async def test_a_turn_that_was_taken_from_us_and_left_again_waits_until_our_own_task_has_ended(
    stage: Any, settings: Any
) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE": 600.0}
    on = await stage([[TextDelta(text="Old."), asyncio.Event()], says("All of it.")])
    started = await on.send()
    await on.watch(until=lambda folded: folded.draft == "Old.")
    await in_thread(on.engine.keeper.round)  # it is known to be ours
    await Turn.objects.aupdate(attempt=2, engine=None, lease_expires_at=LONG_AGO)

    folded = await on.watch(until=has_ended())

    turn = await Turn.objects.aget(pk=started.turn_id)
    assert (turn.status, turn.attempt, turn.losses) == ("completed", 3, 0)
    assert folded.events[3]["data"]["text"] == "All of it."


async def test_a_turn_with_which_nothing_can_be_done_keeps_nobody_from_the_others(stage: Any) -> None:
    on = await stage([says("All of it.")])
    await left(on)
    other = await Conversation.objects.acreate(owner=on.user, last_seq=1)
    broken = await Turn.objects.acreate(
        conversation=other, owner=on.user, status="stopping", engine=uuid4(), lease_expires_at=LONG_AGO.replace(day=1)
    )
    await Event.objects.acreate(conversation=other, seq=1, turn=broken, kind="assistant_message", data={"hop": "?"})

    folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "All of it."
    await Turn.objects.filter(pk=broken.pk).aupdate(status="failed")


async def test_a_process_that_ends_lets_the_hop_end_and_gives_the_turn_away_before_the_next(stage: Any) -> None:
    """R8, R20: what was asked is not asked twice."""
    more = asyncio.Event()
    asks = ToolCallDelta(index=0, id="c", name="look", arguments="{}")
    on = await stage([[TextDelta(text="Let me see."), more, asks, Finish(reason="tool_calls")], says("never asked")])
    started = await on.send()
    await on.watch(until=lambda folded: folded.draft == "Let me see.")

    draining = asyncio.create_task(on.engine.drain(patience=20.0))
    await asyncio.sleep(0)  # it begins
    assert on.engine.draining
    more.set()
    await draining

    assert RAN == ["look"]
    assert len(on.model.requests) == 1
    turn = await Turn.objects.aget(pk=started.turn_id)
    assert (turn.status, turn.engine, turn.attempt) == ("running", None, 1)
