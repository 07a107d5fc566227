"""Back-pressure: what a client has not taken is bounded on every server, and one that takes nothing is let go.

uvicorn's `send` waits while a client reads nothing. daphne's never does: its transport takes whatever it is given. So
the transport behind `send` is looked at; a viewer that waits in `send` keeps its cursor, and has no queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from history.conf import chat_settings
from streaming.engine import is_draining

if TYPE_CHECKING:
    from streaming.asgi import Application, Receive, Send

logger = logging.getLogger(__name__)

BOUND = 65_536
"""Unsent bytes above which a connection is given nothing more; asyncio's transports have the same."""
SHORTEST, LONGEST = 0.001, 0.25
"""Seconds between two looks at a connection that is above it."""


def with_back_pressure(app: Application) -> Application:
    """The application, with a `send` that waits for clients, but for none that takes nothing for `send_timeout`."""

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        line = line_behind(send)
        if line is None:
            await app(scope, receive, send)
            return
        pace = Pace(send, line=line)
        try:
            await app(scope, receive, pace.send)
        finally:
            pace.leave()

    return application


class Line(NamedTuple):
    """The connection behind a server's `send`: how many bytes of what was written it has not sent, how to break it
    off, and whether `send` waits for it by itself."""

    unsent: Callable[[], int]
    abort: Callable[[], object]
    waits: bool


def line_behind(send: Any) -> Line | None:
    """That connection; None if there is no way to it, as when something is in between: then `send` stays as it is.

    daphne hands over `partial(server.handle_reply, protocol)`, uvicorn a method of what has the transport.
    """
    is_daphnes = isinstance(send, partial) and bool(send.args)
    owner = send.args[0] if is_daphnes else getattr(send, "__self__", None)
    transport: Any = getattr(owner, "transport", None)
    if hasattr(transport, "get_write_buffer_size"):
        return Line(transport.get_write_buffer_size, transport.abort, waits=not is_daphnes)
    socket = transport
    while socket is not None and not hasattr(socket, "dataBuffer"):  # below what encrypts
        socket = getattr(socket, "transport", None)
    if not hasattr(socket, "_tempDataLen"):
        return None

    def unsent() -> int:
        """What a `FileDescriptor` is writing, and what it has been given since it began to."""
        held = socket._tempDataLen + len(socket.dataBuffer)
        return held - socket.offset if held and socket.connected else 0

    return Line(unsent, transport.abortConnection, waits=not is_daphnes)


class Pace:
    """One connection's `send`. While something is unsent, a timer looks whether any of it is taken."""

    __slots__ = ("_given", "_idle", "_left", "_line", "_send", "_timer", "_unsent", "_was")

    def __init__(self, send: Send, *, line: Line) -> None:
        self._send = send
        self._line = line
        self._unsent = line.unsent
        self._timer: asyncio.TimerHandle | None = None
        self._left = False
        self._was = self._given = 0
        self._idle = 0.0

    def send(self, message: dict[str, Any]) -> Awaitable[None]:
        """The server's `send`, as soon as there is room. If everything so far has been sent, as nearly always, it is
        that and nothing more."""
        if self._timer is None and not self._unsent():
            return self._send(message)
        return self._send_with_care(message)

    async def _send_with_care(self, message: dict[str, Any]) -> None:
        if self._timer is None:
            self._watch()
        if not self._line.waits:
            await self._room()
        await self._send(message)
        self._given += _bytes_in(message)

    def leave(self) -> None:
        """The application has ended. Its last words may still wait to be taken."""
        self._left = True
        if self._timer is None and self._unsent():
            self._watch()

    async def _room(self) -> None:
        """Wait until the connection is at the bound, or gone. Who reads is found to do so after a round of the loop."""
        pause = 0.0
        while self._unsent() > BOUND:
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, SHORTEST), LONGEST)

    def _watch(self) -> None:
        self._was, self._given, self._idle = self._unsent(), 0, 0.0
        self._look_after(_interval())

    def _look_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look, seconds)

    def _look(self, waited: float) -> None:
        """Whether less is unsent than there would be if nothing had been taken. Time is counted in looks, so that a
        process that was stopped blames nobody."""
        self._timer = None
        unsent = self._unsent()
        if not unsent or (self._left and unsent > self._was):  # the next request on this line has a pace of its own
            return
        self._idle = 0.0 if unsent < self._was + self._given else self._idle + waited
        self._was, self._given = unsent, 0
        if self._idle >= chat_settings().send_timeout or (self._idle and is_draining()):
            logger.info("a client has taken nothing for %.0f s and is let go, %d bytes unsent", self._idle, unsent)
            self._line.abort()
        else:
            self._look_after(_interval())


def _interval() -> float:
    """Seconds between two looks at a connection with something unsent."""
    return min(1.0, chat_settings().send_timeout / 4)


def _bytes_in(message: dict[str, Any]) -> int:
    """How much a message writes, but for a few bytes of framing."""
    text = message.get("text")
    return len(text.encode()) if text else len(message.get("body") or message.get("bytes") or b"")
