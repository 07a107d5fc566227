"""Stopping a turn: an input of its loop, which whatever the loop is waiting for is raced against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum


class Reason(StrEnum):
    """Why a turn is to end early."""

    CANCELLED = "cancelled"
    """Somebody asked for it."""
    INTERRUPTED = "interrupted"
    """What is said can no longer be stored, or is somebody else's to say."""
    RELEASED = "released"
    """The process ends: another one goes on with the turn."""


class Stopped(Exception):
    """The turn was stopped while it waited."""


class Stop:
    """One turn's stop. `request()` may be called any number of times, on the loop; the first reason holds."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.ends_with_hop = False
        """Not now, but before another model call: the turn is released then."""
        self._waiting: asyncio.Timeout | None = None

    def request(self, reason: Reason) -> None:
        """End the turn: what it waits for inside `interrupts()` is cancelled at once."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def is_due(self) -> bool:
        """Asked between two hops: whether the turn goes no further here."""
        if self.ends_with_hop:
            self.request(Reason.RELEASED)
        return self.reason is not None

    @asynccontextmanager
    async def interrupts(self) -> AsyncIterator[None]:
        """Raise `Stopped` from the block as soon as a stop is requested. A stop is a deadline that is now, so the
        standard library's time-out does the cancelling, and nothing is paid per token.

        Whoever yields from inside the block must be resumed without waiting for anything else in between.
        """
        if self.reason is not None:
            raise Stopped
        try:
            async with asyncio.timeout(None) as self._waiting:
                yield
        except TimeoutError:
            if self.reason is None:
                raise
            raise Stopped from None
        finally:
            self._waiting = None
