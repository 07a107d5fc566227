"""Whether this process slept: stopped, suspended or starved for so long that its turns may be another's by now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from history.conf import chat_settings

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
BEATS = 10
"""Beats in a lease; `slept` is called when half of one has passed without any."""


def elapsed() -> float:
    """Seconds on a clock that also counts those in which the machine was suspended; Linux's monotonic one does not."""
    return time.clock_gettime(CLOCK)


class Pulse:
    """Felt now and then, and before anything is shown: whoever is first after a sleep has `slept` called."""

    def __init__(self, *, slept: Callable[[], None]) -> None:
        self._slept = slept
        self._lease = chat_settings().lease
        self._felt_at = elapsed()

    async def beat(self) -> None:
        """Feel it, as long as the process lives."""
        while True:
            self.feel()
            await asyncio.sleep(self._lease / BEATS)

    def is_felt(self) -> bool:
        """Whether it was, within a lease: if not, the loop hangs. May be called in any thread."""
        return elapsed() - self._felt_at < self._lease

    def feel(self) -> None:
        """Cheap: called per delta."""
        now = elapsed()
        slept = now - self._felt_at > self._lease / 2
        self._felt_at = now
        if slept:
            self._slept()
