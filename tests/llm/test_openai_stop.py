"""Stopping a call closes the provider's connection, wherever the call is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm.openai import OpenAIModel
from llm.retries import with_retries
from llm.types import TextDelta
from tests.llm.conftest import REQUEST, ask
from tests.provider import ProviderProcess


async def test_closing_in_mid_answer_closes_the_connection(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"text": "one"}, {"gate": "never"}])
    stream = openai.stream(REQUEST)
    assert await anext(stream) == TextDelta(text="one")

    await stream.aclose()

    assert (await provider.requests_async(1, ended=True))[0]["ended"] == "closed by client"


@pytest.mark.parametrize(
    "steps", [[{"gate": "never"}], [{"open": True}, {"gate": "never"}], [{"words": 1000, "rate": 50}]]
)
async def test_cancelling_at_any_point_closes_the_connection(
    provider: ProviderProcess, openai: OpenAIModel, steps: list[dict[str, Any]]
) -> None:
    provider.script(steps)
    task = asyncio.create_task(ask(with_retries(openai)))
    await provider.requests_async(1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    log = await provider.requests_async(1, ended=True)
    assert [entry["ended"] for entry in log] == ["closed by client"]


async def test_a_stopped_connection_is_not_used_again(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"text": "one"}, {"words": 100, "rate": 100}])
    stream = openai.stream(REQUEST)
    await anext(stream)
    await stream.aclose()
    provider.script([{"text": "fresh"}])

    assert (await ask(openai)).text == "fresh"


async def test_closing_at_the_last_delta_is_quiet(provider: ProviderProcess, openai: OpenAIModel) -> None:
    stream = openai.stream(REQUEST)
    async for _ in stream:
        pass

    await stream.aclose()

    assert (await provider.requests_async(1, ended=True))[0]["ended"] == "completed"
