"""How long this process may take its turns for its own: for a lease after its last renewal. Past that, because it was
stopped, suspended or starved, or could not reach the database, others may have taken them over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from history.conf import chat_settings

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
BEATS = 10
"""Beats in a lease."""


def elapsed() -> float:
    """Seconds on a clock that also counts those in which the machine was suspended; Linux's monotonic one does not."""
    return time.clock_gettime(CLOCK)


class Pulse:
    """Felt now and then, and before anything is shown or done: `doubt` is called while it is not sure whose turns they
    are."""

    def __init__(self, *, doubt: Callable[[], None]) -> None:
        self._doubt = doubt
        self._lease = chat_settings().lease
        self._felt_at = elapsed()
        self._sure_until = self._felt_at + self._lease

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
        self._felt_at = now = elapsed()
        if now > self._sure_until:
            self._doubt()

    def is_sure(self) -> bool:
        """Whether nobody else can have taken a turn of ours."""
        return elapsed() <= self._sure_until

    def renewed(self, began: float) -> None:
        """Leases were renewed by a statement that was sent at `began`. One that comes too late proves nothing: turns
        may be somebody else's already. May be called in any thread."""
        if self.is_sure():
            self._sure_until = began + self._lease

    def verified(self, began: float) -> None:
        """It was asked at `began` whose the turns are."""
        self._sure_until = began + self._lease
