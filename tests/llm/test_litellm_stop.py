"""Stopping a call through litellm closes the provider's connection, in each wire format and wherever the call is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from llm.deadlines import Deadlines
from llm.errors import Stalled
from llm.retries import with_retries
from llm.through_litellm import LiteLLMModel
from llm.types import TextDelta
from tests.llm.conftest import REQUEST, ask, litellm_warns
from tests.llm.wire import Wire, anthropic, block, candidate, delta, gemini, serving, started
from tests.provider import ProviderProcess

pytestmark = litellm_warns

MODELS = {"anthropic": "anthropic/claude-sonnet-4-5", "gemini": "gemini/gemini-2.5-pro", "openai": "openai/gpt-4o-mini"}
SAID = {
    "anthropic": anthropic(started(), block(0, type="text", text=""), delta(0, type="text_delta", text="one")),
    "gemini": gemini(candidate("one")),
    "openai": 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n',
}
NewModel = Callable[..., LiteLLMModel]


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    async with serving() as wire:
        wire.hangs = True
        yield wire


@pytest_asyncio.fixture
async def new_model(wire: Wire) -> AsyncIterator[NewModel]:
    def new_model(name: str, **deadlines: Any) -> LiteLLMModel:
        return LiteLLMModel(MODELS[name], base_url=wire.url, api_key="k", deadlines=Deadlines(**deadlines))

    yield new_model
    await new_model("openai").aclose()


async def closed(wire: Wire) -> bool:
    """Whether the provider sees its connection close within a second."""
    async with asyncio.timeout(1):
        return await wire.gone.wait()


@pytest.mark.parametrize("name", MODELS)
async def test_closing_in_mid_answer_closes_the_connection(wire: Wire, new_model: NewModel, name: str) -> None:
    wire.body = SAID[name]
    stream = new_model(name).stream(REQUEST)
    assert await anext(stream) == TextDelta(text="one")

    await stream.aclose()

    assert await closed(wire)


@pytest.mark.parametrize("body", ["nothing", "a word"])
@pytest.mark.parametrize("name", MODELS)
async def test_cancelling_closes_the_connection(wire: Wire, new_model: NewModel, name: str, body: str) -> None:
    wire.body = SAID[name] if body == "a word" else ""
    task = asyncio.create_task(ask(with_retries(new_model(name))))
    await wire.asked.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await closed(wire)


@pytest.mark.parametrize("name", MODELS)
async def test_a_silent_provider_is_left(wire: Wire, new_model: NewModel, name: str) -> None:
    wire.body = SAID[name]

    with pytest.raises(Stalled):
        await ask(new_model(name, stall=0.2))

    assert await closed(wire)


async def test_a_stop_before_there_is_an_answer_closes_the_connection(
    provider: ProviderProcess, new_model: NewModel
) -> None:
    provider.script([{"gate": "never"}])
    model = LiteLLMModel(MODELS["openai"], base_url=provider.base_url, api_key="k")
    task = asyncio.create_task(ask(model))
    await provider.requests_async(1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    log = await provider.requests_async(1, ended=True)
    assert [entry["ended"] for entry in log] == ["closed by client"]


async def test_closing_at_the_last_delta_is_quiet(provider: ProviderProcess, new_model: NewModel) -> None:
    model = LiteLLMModel(MODELS["openai"], base_url=provider.base_url, api_key="k")
    stream = model.stream(REQUEST)
    async for _ in stream:
        pass

    await stream.aclose()

    assert (await provider.requests_async(1, ended=True))[0]["ended"] == "completed"
