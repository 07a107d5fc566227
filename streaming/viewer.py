"""Someone who follows a conversation: woken by what happens, due a heartbeat, may be shown the door."""

from __future__ import annotations

import asyncio

from access.principals import Principal
from history.conf import chat_settings
from history.errors import ChatError


class Viewer:
    """Woken by its tail, by the clock and by whoever sends it away. A wake-up that comes while it is busy is kept."""

    __slots__ = ("_loop", "_woken", "beat_at", "principal", "refusal")

    def __init__(self, principal: Principal | None, *, loop: asyncio.AbstractEventLoop) -> None:
        self.principal = principal
        self.beat_at = loop.time() + chat_settings().heartbeat
        self.refusal: type[ChatError] | None = None
        self._loop = loop
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have it look around once."""
        self._woken.set()

    def looks(self) -> None:
        """It looks around now: what happens from here on wakes it again."""
        self._woken.clear()

    async def wait(self) -> None:
        """Until it is woken, at once if it has been since it looked."""
        await self._woken.wait()

    def refuse(self, refusal: type[ChatError]) -> None:
        """Send it away."""
        self.refusal = refusal
        self.wake()

    def is_due(self) -> bool:
        """Whether a heartbeat is due; if so, the time for the next one is set."""
        if self._loop.time() < self.beat_at:
            return False
        self.beat_at = self._loop.time() + chat_settings().heartbeat
        return True
