"""Requests to the site in the test's own process, as a server makes them: answers are read as they come, and a client
may leave at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from django.core.handlers.asgi import ASGIHandler
from msgspec import json

JSON = "application/json"


class Exchange:
    """A request on its way. `status` and `headers` are there once `answered` returns. With `room`, so many messages
    may be sent before one is read, as on a line that is full."""

    def __init__(
        self, method: str, address: str, *, headers: dict[str, str] | None = None, body: Any = None, room: int = 0
    ) -> None:
        parts = urlsplit(address)
        content = b"" if body is None else json.encode(body)
        about = {} if body is None else {"content-type": JSON, "content-length": str(len(content))}
        told = {"host": "testserver", **about, **(headers or {})}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()],
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._more = True
        self._from_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_client.put_nowait({"type": "http.request", "body": content})
        self._from_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue(room)
        application: Any = ASGIHandler()
        self._task = asyncio.create_task(application(scope, self._from_client.get, self._from_server.put))

    @property
    def json(self) -> Any:
        return json.decode(self.body)

    async def answered(self) -> Self:
        """Until there are a status and headers. Raises `TimeoutError`."""
        async with asyncio.timeout(20):
            message = await self._from_server.get()
        assert message["type"] == "http.response.start"
        self.status = message["status"]
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        return self

    async def read(self) -> bytes:
        """What the server sends next; nothing at the end. Raises `TimeoutError`."""
        if not self.status:
            await self.answered()
        while self._more:
            async with asyncio.timeout(20):
                message = await self._from_server.get()
            chunk: bytes = message.get("body", b"")
            self.body += chunk
            self._more = message.get("more_body", False)
            if chunk:
                return chunk
        return b""

    async def whole(self) -> Self:
        """All of the answer, and the application has ended."""
        while await self.read():
            pass
        async with asyncio.timeout(5):
            await self._task
        return self

    async def leave(self) -> None:
        """Hang up, as a client does; the application has ended when this returns. Raises `TimeoutError`."""
        self._from_client.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(5):
            await self._task


@asynccontextmanager
async def asking(method: str, address: str, **request: Any) -> AsyncIterator[Exchange]:
    """A request whose client leaves at the end of the block, if not before."""
    exchange = Exchange(method, address, **request)
    try:
        yield exchange
    finally:
        await exchange.leave()


async def ask(method: str, address: str, **request: Any) -> Exchange:
    """A request and all of its answer."""
    async with asking(method, address, **request) as exchange:
        return await exchange.whole()
