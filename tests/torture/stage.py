"""The site as the harness runs it: every process notes where each of its turns stands, and lingers for some turns at
the places that are too short to be hit otherwise: before the claim, inside a compaction, before a stop is heard.

Nothing is done otherwise, only later, and what is lost with a process is looked for sooner. Notes and pauses are put
around the engine from outside.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial, wraps
from threading import Thread, local
from typing import Any
from uuid import UUID

from config.asgi import application as application
from history import compaction, status
from history.compaction import Place
from history.events import AssistantMessage, ToolResult
from history.models import DeltaBatch
from llm.types import ReasoningDelta, TextDelta
from streaming import keeper, tasks, titles
from streaming.play import Ended, Item
from streaming.tasks import Tasks
from tests.torture.drafts import newest
from tests.torture.notes import PULSE, note

BEFORE_CLAIM, INSIDE_COMPACTION, BEFORE_STOP = 0.25, 0.06, 0.25
TITLE_PATIENCE, TITLE_AGE, SWEEP = 3.0, 8.0, 1.0
"""How long a call for a title may take, after how long it is lost, and how often that is looked for, in seconds."""
ONE_IN = 2
"""How many turns there are for each that is lingered over."""

_here = local()


def lingers(turn_id: UUID, *, place: int) -> bool:
    """Whether this turn is one of those: always the same ones, other ones at each place."""
    return int(turn_id.int // 7**place % ONE_IN) == 0


def noting(play: Callable[..., AsyncGenerator[Item, None]]) -> Callable[..., AsyncGenerator[Item, None]]:
    """The turn loop, with a note whenever it goes from one state to the next."""

    @wraps(play)
    async def noted(*args: Any, **options: Any) -> AsyncGenerator[Item, None]:
        turn = options["context"].turn
        asked, calls = True, 0
        note("asks", turn=turn)
        async with aclosing(play(*args, **options)) as items:
            async for item in items:
                if asked and isinstance(item, TextDelta | ReasoningDelta):
                    asked = False
                    note("speaks", turn=turn)
                if isinstance(item, AssistantMessage | Ended):
                    note("compacts", turn=turn)
                yield item
                if isinstance(item, AssistantMessage | ToolResult):
                    asked = True
                    calls = len(item.tool_calls) if isinstance(item, AssistantMessage) else calls - 1
                    note("tools" if calls > 0 else "asks", turn=turn)
        note("ended", turn=turn)

    return noted


def beginning(begin: Callable[..., None]) -> Callable[..., None]:
    """`Tasks._begin`, later."""

    @wraps(begin)
    def later(self: Tasks, turn_id: UUID, *args: Any, **options: Any) -> None:
        note("queued", turn=str(turn_id))
        delay = BEFORE_CLAIM if lingers(turn_id, place=0) else 0
        self._loop.call_later(delay, partial(begin, self, turn_id, *args, **options))

    return later


def stopping(stop: Callable[..., None]) -> Callable[..., None]:
    """`Tasks._stop`, later."""

    @wraps(stop)
    def later(self: Tasks, turn_id: UUID, *args: Any) -> None:
        if turn_id in self._running:
            note("stop heard", turn=str(turn_id))
            delay = BEFORE_STOP if lingers(turn_id, place=1) else 0
            self._loop.call_later(delay, partial(stop, self, turn_id, *args))

    return later


def compacting(write: Callable[..., None]) -> Callable[..., None]:
    """A write that ends a hop or a turn: its thread remembers that it is in one."""

    @wraps(write)
    def marked(place: Place, *args: Any, **options: Any) -> None:
        _here.compacts = lingers(place.turn_id, place=2)
        try:
            write(place, *args, **options)
        finally:
            _here.compacts = False

    return marked


def fencing(fence: Callable[..., None]) -> Callable[..., None]:
    """The beginning of a fenced write: with the locks held, a compaction lingers."""

    @wraps(fence)
    def held(*args: Any, **options: Any) -> None:
        fence(*args, **options)
        if getattr(_here, "compacts", False):
            time.sleep(INSIDE_COMPACTION)

    return held


def releasing(release: Callable[..., set[UUID]]) -> Callable[..., set[UUID]]:
    """`status.release`, with a note of what is stored of the drafts by then: whoever takes one over drops them."""

    @wraps(release)
    def noted(attempts: Mapping[UUID, int], **options: Any) -> set[UUID]:
        at = time.time()
        texts = {turn_id: _stored(turn_id, attempt=attempt) for turn_id, attempt in attempts.items()}
        released = release(attempts, **options)
        for turn_id in released:
            note("released", turn=str(turn_id), attempt=attempts[turn_id], text=texts[turn_id], at=at)
        return released

    return noted


def _stored(turn_id: UUID, *, attempt: int) -> str:
    batches = DeltaBatch.objects.filter(turn_id=turn_id, attempt=attempt)
    return newest(batches.values("attempt", "hop", "start", "text", "runs"))[1]


def live() -> None:
    """Note that this process gets its share of the machine; who reads that sees when it did not."""
    while True:
        note("alive")
        time.sleep(PULSE)


titles.PATIENCE, keeper.TITLE_AGE, keeper.SWEEP = TITLE_PATIENCE, TITLE_AGE, SWEEP
tasks.play = noting(tasks.play)  # type: ignore[attr-defined]
Tasks._begin = beginning(Tasks._begin)  # type: ignore[method-assign]
Tasks._stop = stopping(Tasks._stop)  # type: ignore[method-assign]
compaction.end_hop = compacting(compaction.end_hop)
compaction.end_turn = compacting(compaction.end_turn)
status.fence = fencing(status.fence)
status.release = releasing(status.release)
Thread(target=live, name="torture-alive", daemon=True).start()
