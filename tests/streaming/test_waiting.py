"""Waiting viewers: none misses what is to wake it, whenever that comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from history.draft import Draft
from streaming.cursor import Cursor
from streaming.follow import Patience, grown
from streaming.tail import Tail
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

    def create_future(self) -> object:
        return object()

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
    waiting = asyncio.ensure_future(viewer.wait())
    await asyncio.sleep(0)
    assert not waiting.done(), "a wake-up counts once"
    viewer.wake()
    async with asyncio.timeout(5):
        await waiting


async def test_whatever_else_happens_is_looked_at_though_the_draft_grows_without_a_pause() -> None:
    viewer, tail, view = Viewer(None, loop=asyncio.get_running_loop()), Tail(uuid4()), View(Cursor())
    tail.learn(0)
    tail.draft = draft = Draft(uuid4(), turn_id=uuid4(), attempt=1, hop=0, after_seq=0)
    view.draft(draft)

    draft.append("text", "One")
    only_grown = [frame.text for frame in grown(view, tail, viewer)]
    viewer.tell()
    draft.append("text", " two")
    told = grown(view, tail, viewer)
    viewer.looks()
    afterwards = [frame.text for frame in grown(view, tail, viewer)]

    assert (only_grown, told, afterwards) == (["One"], [], [" two"])
