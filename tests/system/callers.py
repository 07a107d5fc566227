"""Programs that ask over HTTP: for a whole answer, or for a stream that is read to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from msgspec import json

from tests.sse import Reader
from tests.system.cluster import scaled

CHAT = "/api/v1/ai/chat/"
STREAMING_CHAT = "/api/v1/ai/streaming_chat/"
COUNTING = "tests.system.counting:application"
PATIENCE = aiohttp.ClientTimeout(total=scaled(600, 60))


class Told(NamedTuple):
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.decode(self.body)

    @property
    def frames(self) -> list[Any]:
        """The frames of lightspeed's stream."""
        return [message.json for message in Reader().feed(self.body).messages]


class Caller:
    """Somebody's programs, at one server."""

    def __init__(self, url: str, *, key: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"}

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A request on a connection of its own."""
        async with (
            aiohttp.ClientSession(headers={**self.headers, **(headers or {})}, timeout=PATIENCE) as session,
            session.request(method, self.url + path, json=body) as response,
        ):
            yield response

    async def get(self, path: str) -> Told:
        """What is there."""
        async with self.request("GET", path) as response:
            return Told(response.status, response.headers, await response.read())

    async def post(self, path: str, body: Any) -> Told:
        """What is answered to this."""
        async with self.request("POST", path, body) as response:
            return Told(response.status, response.headers, await response.read())

    async def create(self) -> str:
        """The id of a new conversation."""
        async with self.request("POST", "/api/v1/conversations/", {}) as response:
            return str((await response.json())["id"])

    async def ask(
        self, path: str, query: str, *, key: str | None = None, begun: Callable[[], None] = lambda: None, **body: Any
    ) -> Told:
        """Ask something, with a key for the turn or without; `begun` is called with the first of the answer."""
        headers = {} if key is None else {"Idempotency-Key": key}
        async with self.request("POST", path, {"query": query, **body}, headers) as response:
            first = await response.content.readany()
            begun()
            return Told(response.status, response.headers, first + await response.read())

    async def counted(self, **wanted: int) -> dict[str, int]:
        """What is counted at this server, which runs `COUNTING`, once these are as wanted. Raises `TimeoutError`."""
        query = "&".join(f"{name}={count}" for name, count in wanted.items())
        async with asyncio.timeout(60), self.request("GET", f"/count/?{query}") as response:
            found: dict[str, int] = await response.json()
            return found
