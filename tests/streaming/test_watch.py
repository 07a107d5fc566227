"""Conversations that are followed here while their turns run in another process, which only the database knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db.models import Q

from history import compaction, conversations, status, takeover
from history.compaction import Place
from history.errors import NotFound
from history.events import AssistantMessage, ToolResult, TurnEnded, UserMessage
from history.log import appending
from history.models import Conversation, DeltaBatch, Turn
from llm.types import TextDelta, ToolCall
from streaming.doorbell import Ring
from streaming.tail import Tail
from streaming.viewer import Viewer
from streaming.watch import Watch
from tests.streaming.conftest import caught_up, elsewhere, has_ended

FAR = datetime(2100, 1, 1, tzinfo=UTC)
SAID = ToolCall(id="c", name="clock", arguments="{}")


@pytest.fixture(autouse=True)
def nothing_but_the_watch(settings: Any) -> None:
    """No poll hides what it misses."""
    settings.CHAT = {**settings.CHAT, "POSITION_POLL": 600.0, "BATCH_INTERVAL": 0.02}


async def settled(on: Any) -> None:
    """What is looked at only because it is new here, is looked at no more: this one was new after it."""
    conversation = await Conversation.objects.acreate(owner=on.user)
    place = await elsewhere(begin, conversation.pk, on.user)
    await elsewhere(store, place, "x")
    with on.engine.hub.tail(conversation.pk) as tail, on.engine.hub.viewer(None, tail=tail) as viewer:
        async with asyncio.timeout(20):
            while tail.draft is None:
                await viewer.wait()
                viewer.looks()
    await Turn.objects.filter(pk=place.turn_id).aupdate(status="failed")


def begin(conversation: UUID, user: Any) -> Place:
    with appending(conversation) as log:
        turn = Turn.objects.create(
            conversation_id=conversation, owner=user, status="running", attempt=1, engine=uuid4(), lease_expires_at=FAR
        )
        log.append(turn.pk, UserMessage(text="hi"))
    return Place(conversation, turn.pk, 1)


def store(place: Place, text: str, *, hop: int = 0, start: int = 0) -> None:
    DeltaBatch.objects.create(
        turn_id=place.turn_id, attempt=place.attempt, hop=hop, start=start, text=text, runs=[["text", len(text)]]
    )


def message(text: str, *, hop: int = 0, calls: tuple[ToolCall, ...] = ()) -> AssistantMessage:
    return AssistantMessage(hop=hop, text=text, tool_calls=calls, runs=(("text", len(text)),))


async def test_a_turn_that_runs_elsewhere_is_seen_as_it_goes(stage: Any) -> None:
    on = await stage([])
    place = await elsewhere(begin, on.conversation_id, on.user)
    watching = asyncio.create_task(on.watch(until=has_ended()))
    seen = await on.watch(until=caught_up)

    await elsewhere(store, place, "Let me ")
    await on.watch(until=lambda folded: folded.draft == "Let me ", folded=seen, after=seen.cursor)
    await elsewhere(store, place, "see.", start=7)
    await on.watch(until=lambda folded: folded.draft == "Let me see.", folded=seen, after=seen.cursor)
    await elsewhere(compaction.end_hop, place, message("Let me see.", calls=(SAID,)))
    await elsewhere(
        compaction.add_result, place, ToolResult(hop=0, index=0, tool_call_id="c", name="clock", content="1")
    )
    await elsewhere(store, place, "It is one.", hop=1)
    await on.watch(until=lambda folded: folded.draft == "It is one.", folded=seen, after=seen.cursor)
    await elsewhere(
        compaction.end_turn, place, message=message("It is one.", hop=1), ended=TurnEnded(status="completed")
    )

    folded = await watching
    assert [event["kind"] for event in folded.events.values()] == [
        "user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended",
    ]  # fmt: skip
    assert folded.resets == 0


async def test_a_quiet_conversation_is_looked_at_when_it_rings(stage: Any) -> None:
    on = await stage([])
    watching = asyncio.create_task(on.watch(until=lambda folded: folded.draft == "Hello."))
    await on.watch(until=caught_up)
    await settled(on)

    place = await elsewhere(begin, on.conversation_id, on.user)
    on.engine.hub.hear(Ring(events={str(on.conversation_id): 1}))
    await elsewhere(store, place, "Hello.")

    folded = await watching
    assert [event["kind"] for event in folded.events.values()] == ["user_message"]
    await elsewhere(compaction.end_turn, place, message=message("Hello."), ended=TurnEnded(status="completed"))


async def test_a_turn_that_our_own_task_has_lost_is_watched_where_it_goes_on(stage: Any, settings: Any) -> None:
    """Though nothing rings."""
    settings.CHAT = {**settings.CHAT, "LEASE_RENEWAL": 0.05, "LEASE": 60.0}
    on = await stage([[TextDelta(text="Mine."), asyncio.Event()]])
    started = await on.send()
    watching = asyncio.create_task(on.watch(until=lambda folded: folded.draft == "Theirs."))
    await on.watch(until=lambda folded: folded.draft == "Mine.")
    await settled(on)

    anyway = Q()  # our own keeper renews, and may be between any two of our statements
    (turn,) = await sync_to_async(status.abandoned)(anyway, among=[started.turn_id])
    attempt = await elsewhere(takeover.take_over, turn, engine=uuid4(), lease=600.0)
    place = Place(on.conversation_id, started.turn_id, attempt)
    await elsewhere(store, place, "Theirs.")

    folded = await watching
    assert folded.events[2]["kind"] == "turn_restarted"
    await elsewhere(compaction.end_turn, place, message=message("Theirs."), ended=TurnEnded(status="completed"))


async def test_a_conversation_that_is_deleted_elsewhere_is_gone(stage: Any) -> None:
    on = await stage([])
    watching = asyncio.create_task(on.watch(until=has_ended()))
    await on.watch(until=caught_up)
    await settled(on)

    await elsewhere(conversations.delete, on.conversation_id)
    on.engine.hub.hear(Ring(events={str(on.conversation_id): 0}))

    with pytest.raises(NotFound):
        await watching


async def test_of_many_conversations_each_has_its_turn(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.watch.AT_ONCE", 2)
    on = await stage([])
    tails: dict[UUID, Tail] = {}
    for _ in range(9):
        conversation = await Conversation.objects.acreate(owner=on.user)
        tails[conversation.pk] = Tail(conversation.pk)
        await elsewhere(store, await elsewhere(begin, conversation.pk, on.user), "Hello.")
    watch = Watch(tails)
    for conversation_id in tails:
        watch.add(conversation_id)

    keeping = asyncio.create_task(watch.keep())
    async with asyncio.timeout(20):
        for tail in tails.values():
            viewer = Viewer(None, loop=asyncio.get_running_loop())
            tail.viewers.add(viewer)
            while tail.draft is None:
                await viewer.wait()
                viewer.looks()
    keeping.cancel()

    assert {tail.draft and tail.draft.text_of("text") for tail in tails.values()} == {"Hello."}
    await Turn.objects.aupdate(status="failed")
