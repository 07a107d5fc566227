"""Someone who follows a conversation: woken by what happens, due a heartbeat, may be shown the door."""

from __future__ import annotations

import asyncio

from access.principals import Principal
from history.conf import chat_settings
from history.errors import ChatError


class Viewer:
    """Woken when the draft grows; told when anything else happens: an event, a heartbeat that is due, a refusal. What
    comes while it is busy is kept."""

    __slots__ = ("_loop", "_woken", "beat_at", "principal", "refusal", "told")

    def __init__(self, principal: Principal | None, *, loop: asyncio.AbstractEventLoop) -> None:
        self.principal = principal
        self.beat_at = loop.time() + chat_settings().heartbeat
        self.refusal: type[ChatError] | None = None
        self._loop = loop
        self._woken = loop.create_future()
        self.told = False

    def wake(self) -> None:
        """Have it look around once."""
        if not self._woken.done():
            self._woken.set_result(None)

    def tell(self) -> None:
        """Have it look around once, not only at the draft."""
        self.told = True
        self.wake()

    def looks(self) -> None:
        """It looks around now: what happens from here on wakes it again."""
        self.told = False
        if self._woken.done():
            self._woken = self._loop.create_future()

    def wait(self) -> asyncio.Future[None]:
        """Await this until it is woken; at once if it has been since it looked."""
        return self._woken

    def refuse(self, refusal: type[ChatError]) -> None:
        """Send it away."""
        self.refusal = refusal
        self.tell()

    def until_beat(self) -> float:
        """Seconds until a heartbeat is due."""
        return max(0.0, self.beat_at - self._loop.time())

    def is_due(self) -> bool:
        """Whether a heartbeat is due; if so, the time for the next one is set."""
        if self._loop.time() < self.beat_at:
            return False
        self.beat_at = self._loop.time() + chat_settings().heartbeat
        return True
