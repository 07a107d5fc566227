"""Four faults of daphne 4.2 that show with large messages, when viewers vanish, when sockets are closed and at its end,
mended where it is in use."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from chat.close import Close

FOR_SERVERS = (Close.INTERNAL, Close.RESTART)


def mend() -> None:
    """Change daphne, if it is loaded; more than once does no harm."""
    protocol, server = sys.modules.get("daphne.ws_protocol"), sys.modules.get("daphne.server")
    if protocol is not None and server is not None and not hasattr(server.Server, "is_mended"):
        server.Server.is_mended = True
        _let_pass_large_messages(protocol.WebSocketProtocol)
        _tell_that_nobody_is_there(protocol.WebSocketProtocol)
        _let_pass_the_close_codes_for_servers(protocol.WebSocketProtocol)
        _let_end_with_idle_connections(server.Server)


def _let_pass_large_messages(protocol: Any) -> None:
    """What limits messages that come in is held against those that go out as well: then nobody can ever see an answer
    of more than a mebibyte."""
    original = protocol.serverSend

    def server_send(self: Any, content: str | bytes, binary: bool = False) -> None:
        limit = self.maxMessagePayloadSize
        if 4 * len(content) > limit:  # no code point has more bytes
            self.maxMessagePayloadSize = 0
        original(self, content, binary)
        self.maxMessagePayloadSize = limit

    protocol.serverSend = server_send


def _tell_that_nobody_is_there(protocol: Any) -> None:
    """ASGI has an `OSError` for what is sent to a client that has gone; its WebSocket library has one of its own."""
    original = protocol.serverSend

    def server_send(self: Any, content: str | bytes, binary: bool = False) -> None:
        if self.state in (self.STATE_CLOSING, self.STATE_CLOSED):
            raise ConnectionResetError("the client has gone")
        original(self, content, binary)

    protocol.serverSend = server_send


def _let_pass_the_close_codes_for_servers(protocol: Any) -> None:
    """Its WebSocket library refuses to send what is not 1000 or from 3000 on, although IANA's registry has codes that
    are for servers: then the socket just stays open."""
    original = protocol.serverClose

    def server_close(self: Any, code: int | None = None) -> None:
        if code in FOR_SERVERS:
            self.sendCloseFrame(code=int(code), isReply=False)
        else:
            original(self, code=code)

    protocol.serverClose = server_close


def _let_end_with_idle_connections(server: Any) -> None:
    """At its end it looks for the application of every connection and fails at the first that is between two requests.
    Then it cancels none of the others, and Python may crash over what they leave behind."""
    original = server.kill_all_applications

    def kill_all_applications(self: Any) -> Any:
        nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        nothing.set_result(None)
        for details in self.connections.values():
            details.setdefault("application_instance", nothing)
        return original(self)

    server.kill_all_applications = kill_all_applications
