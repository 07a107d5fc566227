"""Whether a process notices that it is late with its leases, and what it shows and does until it knows whose its turns
are."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from history import committed, compaction, status
from history.committed import Committed
from history.compaction import Place
from history.events import TurnEnded
from history.models import DeltaBatch, Turn
from history.takeover import take_over
from llm.types import Finish, TextDelta, ToolCallDelta
from streaming import gathering
from streaming.database import in_thread
from streaming.gathering import Claimed
from streaming.pulse import Pulse, elapsed
from tests.fold import Folded
from tests.streaming.conftest import elsewhere, has_ended, unheard
from tools.tool import tool

LATE = 61.0
"""Seconds, more than a lease of these tests."""
RAN: list[str] = []


@tool
def act() -> str:
    """Do it, but once."""
    RAN.append("act")
    return "done"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = elapsed()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Clock:
    settings.CHAT = {**settings.CHAT, "LEASE": 60.0, "TOOLS": [f"{__name__}.act"]}
    clock = Clock()
    for module in ("pulse", "doubts", "keeper"):
        monkeypatch.setattr(f"streaming.{module}.elapsed", clock)
    return clock


def test_a_process_is_sure_of_its_turns_for_a_lease_after_each_renewal_that_came_in_time(clock: Clock) -> None:
    told: list[float] = []
    began = clock.now
    pulse = Pulse(doubt=lambda: told.append(clock.now - began))

    for seconds, renewed in ((60.0, 50.0), (109.0, 109.0), (169.0, None), (169.1, 169.1), (170.0, None)):
        clock.now = began + seconds
        pulse.feel()
        if renewed is not None:
            pulse.renewed(began + renewed)  # the last one comes too late, and proves nothing

    assert told == pytest.approx([169.1, 170.0])
    assert not pulse.is_sure()
    pulse.verified(clock.now)
    assert pulse.is_sure()


async def test_a_loop_that_has_stood_still_for_a_lease_is_not_awake(stage: Any, clock: Clock) -> None:
    on = await stage([])
    awake = [on.engine.tasks.is_awake()]

    for seconds in (59.0, 1.0):
        clock.now += seconds
        awake.append(on.engine.tasks.is_awake())

    assert awake == [True, True, False]


async def test_what_is_said_too_late_is_shown_once_the_turn_is_known_to_be_ours(stage: Any, clock: Clock) -> None:
    more = asyncio.Event()
    end = asyncio.Event()
    on = await stage([[TextDelta(text="Before. "), more, TextDelta(text="After."), end, Finish(reason="stop")]])
    await on.send()
    await on.watch(until=lambda folded: folded.draft == "Before. ")

    clock.now += LATE
    more.set()
    await on.watch(until=lambda folded: folded.draft == "Before. After.")
    end.set()
    folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "Before. After."


async def test_what_is_in_doubt_is_not_withdrawn(
    stage: Any, clock: Clock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R6: the database may be away for long; what was shown is stored as soon as it is back."""
    settings.CHAT = {**settings.CHAT, "MISSING_DRAFT": 0.0}
    more, end, known = asyncio.Event(), asyncio.Event(), threading.Event()
    verify = status.verify
    monkeypatch.setattr(status, "verify", lambda *args, **kwargs: known.wait(20) and verify(*args, **kwargs))
    on = await stage([[TextDelta(text="Before. "), more, TextDelta(text="After."), end, Finish(reason="stop")]])
    await on.send()
    folded, sees = Folded(), asyncio.Event()

    def note(folded: Folded) -> bool:
        if folded.draft == "Before. ":
            sees.set()
        return has_ended()(folded)

    watching = asyncio.create_task(on.watch(until=note, folded=folded))
    await sees.wait()

    clock.now += LATE
    more.set()
    async with asyncio.timeout(20):
        while not all(tail.hidden for tail in on.engine.hub._tails.values()):  # noqa: ASYNC110
            await asyncio.sleep(0)
    for _ in range(20):  # the viewer looks, and in the database too: behind what it asks there, this one comes
        await in_thread(lambda: None)
    known.set()
    end.set()
    await watching

    assert folded.resets == 0
    assert folded.events[2]["data"]["text"] == "Before. After."


async def test_of_a_turn_that_was_lost_meanwhile_nothing_more_is_shown_or_stored(stage: Any, clock: Clock) -> None:
    """R10."""
    more = asyncio.Event()
    on = await stage([[TextDelta(text="Before. "), more, TextDelta(text="After."), asyncio.Event()]])
    started = await on.send()
    shown: set[str] = set()

    def note(folded: Folded) -> bool:
        shown.add(folded.draft)
        return len(folded.events) == 2

    watching = asyncio.create_task(on.watch(until=note))
    await on.watch(until=lambda folded: folded.draft == "Before. ")
    attempt = await elsewhere(lose)

    clock.now += LATE
    more.set()
    folded = await watching

    assert folded.events[2]["kind"] == "turn_restarted"
    assert not any("After" in draft for draft in shown)
    assert not await DeltaBatch.objects.filter(turn_id=started.turn_id).aexists()
    end = partial(compaction.end_turn, Place(on.conversation_id, started.turn_id, attempt), message=None)
    await elsewhere(end, ended=TurnEnded(status="completed"))


async def test_no_tool_is_run_for_a_turn_that_was_lost_since_its_message_was_stored(stage: Any, clock: Clock) -> None:
    """R13: whoever has it now says that the call was interrupted, or runs it."""
    RAN.clear()
    on = await stage([[ToolCallDelta(index=0, id="c0", name="act", arguments="{}"), Finish(reason="tool_calls")]])

    def and_then(change: Committed) -> None:
        if any(entry.kind == "assistant_message" for entry in change.entries):
            with unheard():
                lose()
            clock.now += LATE

    committed.listeners.append(and_then)
    try:
        await on.send()
        folded = await on.watch(until=lambda folded: len(folded.events) == 3)
        async with asyncio.timeout(20):
            await asyncio.gather(*(running.task for running in on.engine.tasks._running.values()))
    finally:
        committed.listeners.remove(and_then)

    assert [event["kind"] for event in folded.events.values()] == [
        "user_message",
        "assistant_message",
        "turn_restarted",
    ]
    assert RAN == []


@pytest.mark.parametrize("known_already", [False, True])
async def test_a_turn_that_was_lost_before_its_loop_began_asks_no_model(
    stage: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch, known_already: bool
) -> None:
    """R10: its lease ran out while what it needs was waited for; perhaps the process has noticed by then."""
    loop = asyncio.get_running_loop()
    gather = gathering.gather
    doubts: Any = None

    def gather_slowly(*args: Any, **kwargs: Any) -> Claimed:
        with unheard():
            lose()
        clock.now += LATE
        if known_already:
            asyncio.run_coroutine_threadsafe(beat_and_know(), loop).result(20)
        return gather(*args, **kwargs)

    async def beat_and_know() -> None:
        doubts.pulse.feel()
        await doubts._verifying

    monkeypatch.setattr(gathering, "gather", gather_slowly)
    on = await stage([[TextDelta(text="Never."), Finish(reason="stop")]])
    doubts = on.engine.tasks._doubts
    await on.send()

    folded = await on.watch(until=lambda folded: len(folded.events) == 2)
    async with asyncio.timeout(20):
        await asyncio.gather(*(running.task for running in on.engine.tasks._running.values()))

    assert folded.events[2]["kind"] == "turn_restarted"
    assert on.model.requests == []


async def test_a_turn_that_was_lost_between_its_commit_and_its_task_asks_no_model(stage: Any, clock: Clock) -> None:
    """R10."""
    on = await stage([[TextDelta(text="Never."), Finish(reason="stop")]])
    fields = {"status": "running", "attempt": 1, "engine": uuid4(), "options": {"profile": "demo"}}
    turn = await Turn.objects.acreate(conversation_id=on.conversation_id, owner=on.user, **fields)
    tasks = on.engine.tasks

    with tasks.expecting(turn.pk):
        await tasks._doubts._verify()
        tasks.launch(turn.pk, attempt=1)
    async with asyncio.timeout(20):
        while turn.pk in tasks.ids():  # noqa: ASYNC110 -- nobody is told
            await asyncio.sleep(0)

    assert on.model.requests == []


def lose() -> int:
    """Another process takes the turn over, before the keeper here could renew it; the attempt that it is in now."""
    with transaction.atomic():
        Turn.objects.update(lease_expires_at=datetime(2026, 1, 1, tzinfo=UTC))
        (turn,) = status.abandoned(status.LAPSED)
        return take_over(turn, engine=uuid4(), lease=600.0)
