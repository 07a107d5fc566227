"""An application that tells what `streaming.pressure` finds behind the `send` that a server hands over."""

from __future__ import annotations

from typing import Any

from msgspec import json

from config import asgi as asgi  # sets Django up
from streaming.asgi import Receive, Send
from streaming.pressure import line_behind

FULL = 1 << 20


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """On a socket and over HTTP: the unsent bytes before and after so many are sent, and whether `send` waits."""
    if scope["type"] == "lifespan":
        return
    line = line_behind(send)
    found: dict[str, Any] = {"found": line is not None}
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        if line is not None:
            found |= {"waits": line.waits, "before": line.unsent()}
            await send({"type": "websocket.send", "bytes": bytes(FULL)})
            found["after"] = line.unsent()
        await send({"type": "websocket.send", "text": json.encode(found).decode()})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if line is not None:
        found |= {"waits": line.waits, "before": line.unsent()}
        await send({"type": "http.response.body", "body": b" " * FULL, "more_body": True})
        found["after"] = line.unsent()
    await send({"type": "http.response.body", "body": json.encode(found)})
