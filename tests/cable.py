"""A cable between clients and a server that breaks when it is told to: at once, or behind some words of an answer."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

NO_LINGER = struct.pack("ii", 1, 0)
"""A socket that is closed with this option resets its connection."""


class Cable:
    """Carries connections to a server. One that is cut ends on both sides; a new one may be made at once.

    `requests` and `answers` are all that was carried. The loop runs in a thread, so tests of any colour can use it.
    """

    def __init__(self, server_port: int) -> None:
        self.requests = b""
        self.answers = b""
        self._server_port = server_port
        self._carried = threading.Condition()
        self._breaks_behind: re.Pattern[bytes] | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._lines: dict[asyncio.StreamWriter, list[asyncio.Task[None]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the server is for those who come through here."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self, *, reset: bool = True) -> None:
        """Break every connection now: by a reset, or by an end that comes too early."""
        self._call(self._cut(reset=reset))

    def cut_behind(self, words: bytes) -> None:
        """Reset the connection whose answer first comes to these words, a regular expression. They still arrive."""
        self._breaks_behind = re.compile(words, re.DOTALL)

    def hang_up(self) -> None:
        """Break every connection, and let nobody in any more."""
        self._call(self._hang_up())

    def hold(self) -> None:
        """Let no answer arrive until `let_go`."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def let_go(self) -> None:
        """Let answers arrive again, those of connections that still stand."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def wait_for(self, words: bytes, *, count: int = 1, timeout: float = 30) -> None:
        """Until answers have had these words so often. Raises `TimeoutError`."""
        with self._carried:
            if not self._carried.wait_for(lambda: self.answers.count(words) >= count, timeout):
                raise TimeoutError(f"{words!r} did not come {count} times")

    def __enter__(self) -> Cable:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _carry(self, asks: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until one of its sides ends it."""
        answers, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        pumps = [asyncio.create_task(self._ask(asks, server)), asyncio.create_task(self._answer(answers, client))]
        self._lines[client] = pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _end(pumps)
            client.close()
            server.close()
            del self._lines[client]

    async def _ask(self, source: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                self.requests += data
                server.write(data)

    async def _answer(self, source: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        carried = b""
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._flows.wait()
                found = self._breaks_behind.search(carried + data) if self._breaks_behind else None
                if found:
                    data = data[: found.end() - len(carried)]
                carried += data
                client.write(data)
                with self._carried:
                    self.answers += data
                    self._carried.notify_all()
                if found:
                    self._breaks_behind = None
                    _reset_when_closed(client)
                    return

    async def _hang_up(self) -> None:
        self._server.close()
        await self._cut(reset=True)

    async def _cut(self, *, reset: bool) -> None:
        lines = list(self._lines.items())
        for client, pumps in lines:
            if reset:
                _reset_when_closed(client)
            _end(pumps)
        await asyncio.gather(*(pump for _, pumps in lines for pump in pumps), return_exceptions=True)


def _end(pumps: list[asyncio.Task[None]]) -> None:
    for pump in pumps:
        pump.cancel()


def _reset_when_closed(client: asyncio.StreamWriter) -> None:
    client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
