"""Tools that work under the eyes of the test: it is told when one begins, and says when it may end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Self

from tools.tool import tool


async def work(port: int, name: str) -> str:
    """Tell the workshop at this port, and wait for its leave."""
    leave, begins = await asyncio.open_connection("127.0.0.1", port)
    try:
        begins.write(f"{name}\n".encode())
        result = await leave.readline()
        if not result:
            raise ConnectionResetError
        return result.decode().strip()
    finally:
        begins.close()


@tool
async def once(port: int, name: str) -> str:
    """Work that nobody may do twice."""
    return await work(port, name)


@tool(idempotent=True)
async def again(port: int, name: str) -> str:
    """Work that may be done again."""
    return await work(port, name)


class Workshop:
    """Where the tools of all processes work. `begun` counts how often each piece of work was begun."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self._news = asyncio.Condition()
        self._leave: dict[str, asyncio.Event] = {}

    async def until_begun(self, name: str, *, times: int = 1) -> None:
        """Raises `TimeoutError` if it is not begun so often within 30 s."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: self.begun[name] >= times)

    def let_go(self, name: str) -> None:
        """Let this work end, now and later."""
        self._event(name).set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._oversee, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for event in self._leave.values():
            event.set()

    async def _oversee(self, begins: asyncio.StreamReader, leave: asyncio.StreamWriter) -> None:
        name = (await begins.readline()).decode().strip()
        self.begun[name] += 1
        async with self._news:
            self._news.notify_all()
        with suppress(ConnectionError):
            await self._event(name).wait()
            leave.write(b"worked\n")
            await leave.drain()
        leave.close()

    def _event(self, name: str) -> asyncio.Event:
        return self._leave.setdefault(name, asyncio.Event())
