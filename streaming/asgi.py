"""What goes around a site's ASGI application, so that turns run in its process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from streaming.engine import Engine, ensure_started
from streaming.log_lines import about_request
from streaming.pressure import with_back_pressure

Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def with_engine(app: Application, *, start: Callable[[], Engine] = ensure_started) -> Application:
    """The application, with the engine started (`start` is asked every time) on the loop that brings the first scope
    of any kind. Not in `lifespan`: daphne sends none. The engine knows of every request, because daphne ends without
    waiting for them. What it sends waits for who reads slowly."""
    app = with_back_pressure(app)

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        engine = start()
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        with about_request(scope.get("headers", ())):
            if scope["type"] == "http":
                await _answer(engine, app(scope, receive, send))
            else:
                await app(scope, receive, send)

    return application


async def _answer(engine: Engine, answer: Awaitable[None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    engine.requests.add(task)
    try:
        await answer
    finally:
        engine.requests.discard(task)


async def _lifespan(receive: Receive, send: Send) -> None:
    """Answer uvicorn's start and end. Nothing is done here: the engine ends on the signal, under every server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
