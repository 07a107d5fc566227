"""Whether this process slept: stopped, suspended or starved for so long that its turns may be another's by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from history.conf import chat_settings

BEATS = 10
"""Beats in a lease; `slept` is called when half of one has passed without any."""


class Pulse:
    """Felt now and then, and before anything is shown: whoever is first after a sleep has `slept` called."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, slept: Callable[[], None]) -> None:
        self._loop = loop
        self._slept = slept
        self._lease = chat_settings().lease
        self._felt_at = loop.time()

    async def beat(self) -> None:
        """Feel it, as long as the process lives."""
        while True:
            self.feel()
            await asyncio.sleep(self._lease / BEATS)

    def feel(self) -> None:
        """Cheap: called per delta."""
        now = self._loop.time()
        slept = now - self._felt_at > self._lease / 2
        self._felt_at = now
        if slept:
            self._slept()
