"""Waiting viewers: none misses what is to wake it, whenever that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from streaming.cursor import Cursor
from streaming.follow import Patience
from streaming.view import View
from streaming.viewer import Viewer


class Timer:
    """A call to come."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clockwork:
    """What a loop is to a waiting viewer, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def pending(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled and timer.when > self.now]


def test_a_timer_that_is_early_does_not_leave_a_viewer_with_what_is_not_stored() -> None:
    """uvloop rounds to milliseconds, so a timer may be early by half of one."""
    clock: Any = Clockwork()
    patience = Patience(SimpleNamespace(loop=clock), Viewer(None, loop=clock))  # type: ignore[arg-type]
    view = View(Cursor(1, 5))

    assert not patience.is_over(view)
    (timer,) = clock.pending()
    clock.timers.remove(timer)  # it fires, too early
    clock.now = timer.when - 0.0005
    assert not patience.is_over(view)

    (again,) = clock.pending()
    clock.now = again.when
    assert patience.is_over(view)


async def test_a_wake_up_that_comes_while_a_viewer_is_busy_is_not_lost() -> None:
    viewer = Viewer(None, loop=asyncio.get_running_loop())

    viewer.looks()
    viewer.wake()
    async with asyncio.timeout(5):
        await viewer.wait()

    viewer.looks()
    waiting = asyncio.create_task(viewer.wait())
    await asyncio.sleep(0)
    assert not waiting.done(), "a wake-up counts once"
    viewer.wake()
    async with asyncio.timeout(5):
        await waiting
