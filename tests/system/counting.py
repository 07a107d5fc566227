"""The site, with a door beside it that tells how much is going on inside."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

from msgspec import json

from config.asgi import application as site
from streaming import engine
from streaming.asgi import Receive, Send

ADDRESS = "/count/"


def counts() -> dict[str, int]:
    """Those who follow or wait, the conversations that are kept for them, and all tasks, of this process."""
    hub = engine.ensure_started().hub
    return {"viewers": len(hub.viewers), "tails": len(hub._tails), "tasks": len(asyncio.all_tasks())}


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """`GET /count/?viewers=N` begins to answer at once, and goes on once exactly N follow or wait in this process;
    everything else is the site's."""
    if scope["type"] != "http" or scope["path"] != ADDRESS:
        await site(scope, receive, send)
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b" ", "more_body": True})  # daphne sends no headers alone
    wanted = {name: int(count) for name, (count,) in parse_qs(scope["query_string"].decode()).items()}
    while not wanted.items() <= counts().items():  # noqa: ASYNC110 -- nobody tells who waits
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": json.encode(counts())})
