"""Whether a process notices that it slept, and what it shows until it knows whose its turns are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from history import compaction, status
from history.compaction import Place
from history.events import TurnEnded
from history.models import DeltaBatch, Turn
from history.takeover import take_over
from llm.types import Finish, TextDelta
from streaming.pulse import Pulse, elapsed
from tests.fold import Folded
from tests.streaming.conftest import elsewhere, has_ended


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = elapsed()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Clock:
    settings.CHAT = {**settings.CHAT, "LEASE": 60.0}
    clock = Clock()
    monkeypatch.setattr("streaming.pulse.elapsed", clock)
    return clock


def test_half_a_lease_without_a_beat_is_a_sleep_and_is_told_once(clock: Clock) -> None:
    told: list[float] = []
    pulse = Pulse(slept=lambda: told.append(clock.now))

    for seconds in (30.0, 30.0, 30.1, 1.0):
        clock.now += seconds
        pulse.feel()

    assert len(told) == 1


async def test_a_loop_that_has_stood_still_for_a_lease_is_not_awake(stage: Any, clock: Clock) -> None:
    on = await stage([])
    awake = [on.engine.tasks.is_awake()]

    for seconds in (59.0, 1.0):
        clock.now += seconds
        awake.append(on.engine.tasks.is_awake())

    assert awake == [True, True, False]


async def test_what_is_said_after_a_sleep_is_shown_once_the_turn_is_known_to_be_ours(stage: Any, clock: Clock) -> None:
    more = asyncio.Event()
    end = asyncio.Event()
    on = await stage([[TextDelta(text="Before. "), more, TextDelta(text="After."), end, Finish(reason="stop")]])
    await on.send()
    await on.watch(until=lambda folded: folded.draft == "Before. ")

    clock.now += 31.0
    more.set()
    await on.watch(until=lambda folded: folded.draft == "Before. After.")
    end.set()
    folded = await on.watch(until=has_ended())

    assert folded.events[2]["data"]["text"] == "Before. After."


async def test_of_a_turn_that_was_lost_in_the_sleep_nothing_more_is_shown_or_stored(stage: Any, clock: Clock) -> None:
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
    await Turn.objects.aupdate(lease_expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    (turn,) = await sync_to_async(status.abandoned)(status.LAPSED)
    attempt = await elsewhere(take_over, turn, engine=uuid4(), lease=600.0)

    clock.now += 31.0
    more.set()
    folded = await watching

    assert folded.events[2]["kind"] == "turn_restarted"
    assert not any("After" in draft for draft in shown)
    assert not await DeltaBatch.objects.filter(turn_id=started.turn_id).aexists()
    end = partial(compaction.end_turn, Place(on.conversation_id, started.turn_id, attempt), message=None)
    await elsewhere(end, ended=TurnEnded(status="completed"))
