"""The wrapper that starts the engine of a process."""

from __future__ import annotations

import asyncio
from typing import Any

from streaming import asgi


class Application:
    """Remembers how often the engine was started, and what reached the application behind it."""

    def __init__(self) -> None:
        self.starts = 0
        self.scopes: list[str] = []
        self.requests: set[asyncio.Task[Any]] = set()
        self.answering: list[int] = []
        self.asked = asgi.with_engine(self.answer, start=self.start)

    def start(self) -> Any:
        """In the engine's place."""
        self.starts += 1
        return self

    async def answer(self, scope: dict[str, Any], receive: asgi.Receive, send: asgi.Send) -> None:
        self.scopes.append(scope["type"])
        self.answering.append(len(self.requests))


async def nothing() -> dict[str, Any]:
    raise AssertionError("nothing is to be received")


async def nowhere(message: dict[str, Any]) -> None:
    raise AssertionError("nothing is to be sent")


async def test_a_scope_of_any_kind_starts_the_engine() -> None:
    application = Application()

    for kind in ("http", "websocket"):
        await application.asked({"type": kind}, nothing, nowhere)

    assert application.starts == 2
    assert application.scopes == ["http", "websocket"]
    assert (application.answering, application.requests) == ([1, 0], set())


async def test_lifespan_is_answered_and_starts_the_engine() -> None:
    application = Application()
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await application.asked({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert application.starts == 1
    assert application.scopes == []
