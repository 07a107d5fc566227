"""A provider in the test's own loop that answers in any wire format: it sends the bytes it was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Event = dict[str, Any]


class Wire:
    """Answers every request with `body`; if it `hangs`, it then waits for its client to go, which sets `gone`."""

    def __init__(self) -> None:
        self.url = ""
        self.body = ""
        self.hangs = False
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self.body.encode())
        self.asked.set()
        try:
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.gone.set()
        return response


@asynccontextmanager
async def serving() -> AsyncIterator[Wire]:
    """A provider that listens."""
    wire = Wire()
    app = web.Application()
    app.router.add_post("/{path:.*}", wire.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    wire.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    try:
        yield wire
    finally:
        await runner.cleanup()


def anthropic(*events: Event) -> str:
    """Events of Anthropic's messages stream."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def started(**usage: int) -> Event:
    """How such a stream begins."""
    counted = {"input_tokens": 7, "output_tokens": 1, **usage}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": counted}
    return {"type": "message_start", "message": message}


def block(index: int, **content: Any) -> Event:
    """How one of its blocks begins."""
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, **content: Any) -> Event:
    """A fragment of a block."""
    return {"type": "content_block_delta", "index": index, "delta": content}


def stopped(reason: str, *, output_tokens: int = 5) -> tuple[Event, ...]:
    """How such a stream ends."""
    return (
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": output_tokens}},
        {"type": "message_stop"},
    )


def gemini(*chunks: Event) -> str:
    """Chunks of Gemini's `streamGenerateContent?alt=sse`."""
    return "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)


def candidate(text: str, **more: Any) -> Event:
    """A chunk of one, with a fragment of its text."""
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}]}
