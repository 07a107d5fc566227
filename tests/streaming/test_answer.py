"""One turn followed, and one waited for: whatever ends it, wherever that happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from access.errors import AccessEnded
from history import committed
from history.errors import ChatError, NotFound
from history.models import Turn
from llm.scripted import says
from llm.types import Finish, TextDelta
from streaming.answer import follow_turn, until_ended
from streaming.cursor import Cursor
from streaming.database import in_thread
from streaming.errors import Draining
from streaming.hub import Hub
from streaming.repeats import end_of
from streaming.turns import Started, delete_conversation, stop_turn
from streaming.viewer import Viewer
from tests.fold import TELLS, Folded
from tests.streaming.conftest import Stage, has_ended


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """What is looked at once in a while is looked at often."""
    settings.CHAT = {**settings.CHAT, "POSITION_POLL": 0.05, "RECHECK": 0.05}


def open_end(*fragments: str) -> list[Any]:
    """A reply that stops for ever after these fragments."""
    return [*(TextDelta(text=fragment) for fragment in fragments), asyncio.Event()]


async def wait(on: Stage, turn: Started) -> None:
    await until_ended(turn.turn_id, conversation_id=on.conversation_id, hub=on.engine.hub, principal=on.principal)


@asynccontextmanager
async def waiting(on: Stage, turn: Started) -> AsyncIterator[asyncio.Task[None]]:
    """Somebody who waits for a turn, and has seen that it is not over; at the end they have stopped to."""
    with on.engine.hub.tail(on.conversation_id) as tail:
        task = asyncio.create_task(wait(on, turn))
        async with asyncio.timeout(20):
            while not tail.waiters:  # noqa: ASYNC110 -- nobody tells that somebody waits
                await asyncio.sleep(0)
            yield task
            await asyncio.wait({task})
        assert tail.waiters == set()
    assert on.engine.hub.viewers == set()


async def test_who_waits_for_a_turn_that_is_over_does_not_wait(stage: Any) -> None:
    on = await stage([says("Done.")])
    turn = await on.send()
    await on.watch(until=has_ended())

    async with asyncio.timeout(20):
        await wait(on, turn)

    assert on.engine.hub.viewers == set()


async def test_who_waits_hears_of_the_end_of_the_turn_and_of_nothing_before(stage: Any) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    calls = [TextDelta(text="One"), first, TextDelta(text="two"), second, Finish(reason="stop")]
    on = await stage([calls])
    turn = await on.send()

    async with waiting(on, turn) as task:
        await on.watch(until=lambda folded: folded.draft == "One")
        first.set()
        await on.watch(until=lambda folded: folded.draft == "Onetwo")
        assert not task.done()
        second.set()

    assert await Turn.objects.values_list("status", flat=True).aget(pk=turn.turn_id) == "completed"
    assert task.exception() is None


async def test_the_end_of_another_turn_is_not_what_is_waited_for(stage: Any) -> None:
    on = await stage([says("One."), open_end("Two")])
    first = await on.send()
    await on.watch(until=has_ended())
    second = await on.send()
    await on.watch(until=lambda folded: folded.draft == "Two")

    async with waiting(on, second) as task:
        async with asyncio.timeout(20):
            await wait(on, first)
        assert not task.done()
        await in_thread(stop_turn, on.principal, second.turn_id)

    assert task.exception() is None


async def test_an_end_that_nobody_told_this_process_of_is_found_in_the_table(stage: Any) -> None:
    """R18: as if it ran elsewhere, and the doorbell is broken."""
    on = await stage([open_end("One")])
    turn = await on.send()
    await on.watch(until=lambda folded: folded.draft == "One")

    async with waiting(on, turn) as task:
        committed.listeners.remove(on.engine.hub.committed)
        await in_thread(stop_turn, on.principal, turn.turn_id)

    assert task.exception() is None
    assert await Turn.objects.values_list("status", flat=True).aget(pk=turn.turn_id) == "cancelled"


async def test_who_waits_learns_that_the_conversation_was_deleted(stage: Any) -> None:
    on = await stage([open_end("One")])
    turn = await on.send()

    async with waiting(on, turn) as task:
        await in_thread(delete_conversation, on.principal, on.conversation_id)

    assert await refusal_of(task) in (None, NotFound), "its end may have been seen before"


async def test_who_waits_is_sent_away_when_the_process_ends(stage: Any) -> None:
    on = await stage([open_end("One")])
    turn = await on.send()

    async with waiting(on, turn) as task:
        on.engine.hub.close()

    assert await refusal_of(task) is Draining
    with pytest.raises(Draining):
        await wait(on, turn)


async def test_who_waits_and_may_not_look_any_more_is_sent_away(stage: Any) -> None:
    """S3."""
    on = await stage([open_end("One")])
    turn = await on.send()

    async with waiting(on, turn) as task:
        await User.objects.filter(pk=on.user.pk).aupdate(is_active=False)

    assert await refusal_of(task) is AccessEnded


async def test_who_stops_to_wait_leaves_nothing_behind(stage: Any) -> None:
    on = await stage([open_end("One")])
    turn = await on.send()

    async with waiting(on, turn) as task:
        task.cancel()

    assert task.cancelled()
    assert on.engine.hub.viewers == set()


async def test_the_growing_draft_does_not_wake_who_waits_for_the_end() -> None:
    hub = Hub(asyncio.get_running_loop())

    with (
        hub.tail(uuid4()) as tail,
        hub.viewer(None, tail=tail) as reader,
        hub.viewer(None, tail=tail, drafts=False) as waiter,
    ):
        tail.wake()
        by_a_delta = await is_woken(reader), await is_woken(waiter)
        tail.tell()
        by_an_event = await is_woken(reader), await is_woken(waiter)

    assert by_a_delta == (True, False)
    assert by_an_event == (True, True)


async def is_woken(viewer: Viewer) -> bool:
    """Whether something woke it since this was asked last."""
    woken = asyncio.ensure_future(viewer.wait())
    await asyncio.sleep(0)
    viewer.looks()
    return woken.done()


async def followed(on: Stage, turn: Started, *, after: Cursor | None = None) -> list[Any]:
    """All frames of a turn; they end by themselves."""
    frames = follow_turn(
        turn.turn_id, conversation_id=turn.conversation_id, hub=on.engine.hub, after=after or turn.begin
    )
    async with asyncio.timeout(20), aclosing(frames):
        return [frame async for frame in frames]


async def test_the_frames_of_a_turn_are_its_own_and_end_with_it(stage: Any) -> None:
    on = await stage([says("One."), says("Two."), says("Three.")])
    turns = []
    for number in range(3):
        turns.append(await on.send())
        await on.watch(until=has_ended(number + 1))

    of_each = [await followed(on, turn) for turn in turns]

    for turn, frames in zip(turns, of_each, strict=True):
        events = [frame for frame in frames if type(frame).__name__ == "Event"]
        said = [event.kind for event in events if event.kind not in TELLS]
        assert said == ["user_message", "assistant_message", "turn_ended"]
        assert {event.turn for event in events} == {str(turn.turn_id)}
        assert frames[-1] is events[-1]
    assert on.engine.hub.viewers == set()


async def test_a_turn_that_is_being_written_is_followed_to_its_end(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="One "), more, TextDelta(text="two"), Finish(reason="stop")]])
    turn = await on.send()
    folded = Folded()

    frames = follow_turn(turn.turn_id, conversation_id=on.conversation_id, hub=on.engine.hub, after=turn.begin)
    async with asyncio.timeout(20), aclosing(frames):
        async for frame in frames:
            folded.add(frame)
            if folded.draft == "One ":
                more.set()

    assert has_ended()(folded)
    assert folded.events == (await on.fresh()).events


async def test_a_position_that_is_none_of_the_conversation_gets_the_turn_after_a_reset(stage: Any) -> None:
    on = await stage([says("One."), says("Two.")])
    await on.send()
    await on.watch(until=has_ended())
    second = await on.send()
    await on.watch(until=has_ended(2))
    whole = await on.fresh()
    assert await in_thread(end_of, await Turn.objects.aget(pk=second.turn_id)) == Cursor(max(whole.log))

    frames = await followed(on, second, after=Cursor(99, 3))

    assert [type(frame).__name__ for frame in frames] == ["Reset", *["Event"] * 5]
    assert frames[0].cursor == "0.0"
    assert [frame.seq for frame in frames[1:]] == [seq for seq in whole.log if seq > second.begin.seq]


async def test_a_turn_of_a_conversation_that_is_gone_is_not_found(stage: Any) -> None:
    on = await stage([])

    with pytest.raises(NotFound):
        await followed(on, Started(uuid4(), uuid4(), Cursor()))


async def refusal_of(task: asyncio.Task[None]) -> type[ChatError] | None:
    """Why somebody was sent away."""
    try:
        await task
    except ChatError as error:
        return type(error)
    return None
