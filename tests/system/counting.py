"""The site, with a door beside it that tells how many are inside: `uvicorn tests.system.counting:application`."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from urllib.parse import parse_qs

from msgspec import json

from config.asgi import application as site
from streaming import engine
from streaming.asgi import Receive, Send

ADDRESS = "/count/"


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """`GET /count/?viewers=N` answers once exactly N follow or wait in this process; everything else is the site's."""
    if scope["type"] != "http" or scope["path"] != ADDRESS:
        await site(scope, receive, send)
        return
    wanted = parse_qs(scope["query_string"].decode()).get("viewers")
    hub = engine.ensure_started().hub
    while wanted and len(hub.viewers) != int(wanted[0]):  # noqa: ASYNC110 -- nobody tells who waits
        await asyncio.sleep(0.01)
    body = json.encode({"viewers": len(hub.viewers), "tails": len(hub._tails), "threads": threading.active_count()})
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
