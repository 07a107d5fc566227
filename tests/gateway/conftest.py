"""OpenAI's own client at the door of a site in the test's process, whose model follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.test import override_settings
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from access.keys import create_key
from llm.scripted import Step
from tests.chat.conftest import ada as ada
from tests.streaming.conftest import Stage
from tests.streaming.conftest import stage as stage

ADDRESS = "/v1/chat/completions"
SAY_HI: Any = [{"role": "user", "content": "Hi"}]


class Door:
    """A stage with a key to it. Answers come whole here, also those that are streams."""

    def __init__(self, on: Stage, *, key: str, client: AsyncOpenAI) -> None:
        self.on = on
        self.key = key
        self.client = client
        self.headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, messages: Any = SAY_HI, *, model: str = "demo", **fields: Any) -> ChatCompletion:
        """A whole answer."""
        answer: ChatCompletion = await self.client.chat.completions.create(messages=messages, model=model, **fields)
        return answer

    async def stream(self, messages: Any = SAY_HI, *, model: str = "demo", **fields: Any) -> list[ChatCompletionChunk]:
        """All chunks of a streamed one."""
        chunks: Any = await self.client.chat.completions.create(messages=messages, model=model, stream=True, **fields)
        return [chunk async for chunk in chunks]

    async def asked(self) -> None:
        """Until the model has been asked."""
        async with asyncio.timeout(20):
            while not self.on.model.requests:  # noqa: ASYNC110 -- nobody tells that it was asked
                await asyncio.sleep(0)


def text(chunks: Sequence[ChatCompletionChunk]) -> str:
    """What a client has that appends what comes."""
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@pytest.fixture
async def door(stage: Any) -> AsyncIterator[Callable[..., Any]]:
    """Opens the door: `await door([reply, ...])`. A stream waits for its first word however busy the machine is."""
    async with AsyncExitStack() as opened:
        opened.enter_context(override_settings(CHAT={"GATEWAY_PATIENCE": 60.0}))

        async def build(replies: Sequence[Sequence[Step]] = ()) -> Door:
            on = await stage(replies)
            key = (await sync_to_async(create_key)(on.user)).text
            application: Any = ASGIHandler()
            transport = httpx.ASGITransport(app=application)
            http = httpx.AsyncClient(transport=transport, timeout=20)
            client = AsyncOpenAI(base_url="http://testserver/v1", api_key=key, http_client=http, max_retries=0)
            return Door(on, key=key, client=await opened.enter_async_context(client))

        yield build


@pytest.fixture
def bob(other_user: User) -> str:
    """The key of somebody else."""
    return create_key(other_user).text
