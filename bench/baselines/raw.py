"""The raw pass-through: Starlette and httpx hand the provider's bytes on as they come. Nothing is stored or resumed."""

from __future__ import annotations

import os

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

client = httpx.AsyncClient(
    base_url=os.environ["OPENAI_BASE_URL"],
    timeout=None,
    limits=httpx.Limits(max_connections=None),
    trust_env=False,
)


async def stream(request: Request) -> StreamingResponse:
    """Ask what the client asks; its answer is the provider's."""
    asked = client.build_request("POST", "chat/completions", content=await request.body())
    answer = await client.send(asked, stream=True)
    return StreamingResponse(
        answer.aiter_raw(),
        status_code=answer.status_code,
        media_type="text/event-stream",
        background=BackgroundTask(answer.aclose),
    )


application = Starlette(routes=[Route("/stream", stream, methods=["POST"])])
