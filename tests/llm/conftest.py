"""What tests of the voice share: the adapter that talks to the scripted provider."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llm.deadlines import Deadlines
from llm.openai import OpenAIModel
from llm.reply import Reply
from llm.types import ChatModel, ChatRequest, UserMessage
from tests.provider import ProviderProcess

litellm_warns = [
    pytest.mark.filterwarnings(f"ignore:{warning}")
    for warning in (
        ".* is using the `ReadOnly` qualifier:UserWarning",
        "Accessing the 'model_.*fields' attribute on the instance is deprecated:pydantic.PydanticDeprecatedSince211",
    )
]
"""What pydantic thinks of litellm. It asks for silence on its import, which pytest forgets at the end of each test."""
REQUEST = ChatRequest(messages=(UserMessage(text="Hello?"),), call_id="turn:1:0")


@pytest_asyncio.fixture
async def openai(provider: ProviderProcess) -> AsyncIterator[OpenAIModel]:
    """The adapter at the provider, with deadlines short enough to see them pass."""
    deadlines = Deadlines(connect=2, first_token=2, stall=1, total=5, ending=0.3)
    model = OpenAIModel(provider.base_url, model="scripted", api_key="sk-canary-0123456789", deadlines=deadlines)
    yield model
    await model.aclose()


async def ask(model: ChatModel, request: ChatRequest = REQUEST, *, into: Reply | None = None) -> Reply:
    """The whole reply. What came before an error is in `into`."""
    reply = Reply() if into is None else into
    async for delta in model.stream(request):
        reply.add(delta)
    return reply
