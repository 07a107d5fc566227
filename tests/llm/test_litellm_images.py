"""Images through litellm: one in the request arrives; one at an address is fetched by the provider, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from llm import through_litellm
from llm.errors import ImageRefused
from llm.through_litellm import LiteLLMModel
from llm.types import ChatRequest, ImagePart, TextPart, UserMessage
from tests.independent import IndependentProvider
from tests.llm.conftest import ask, litellm_warns

pytestmark = litellm_warns

DATA = "R0lGODlhAQABAAAAACw="
WIRES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "openai": "/v1"}


class Place(NamedTuple):
    """Where an image could be, and who came for it."""

    url: str
    visitors: list[object]


@pytest.fixture(scope="module")
def llmock_process() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=1) as process:
        yield process


@pytest.fixture
def llmock(llmock_process: IndependentProvider) -> IndependentProvider:
    llmock_process.reset()
    return llmock_process


@pytest_asyncio.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """On this machine, where litellm would go only if it is told that it may."""
    visitors: list[object] = []

    def visit(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer.get_extra_info("peername"))
        writer.close()

    async with await asyncio.start_server(visit, "127.0.0.1", 0) as server:
        at = "{}:{}".format(*server.sockets[0].getsockname())
        library = await asyncio.to_thread(through_litellm._library)
        monkeypatch.setattr(library, "user_url_allowed_hosts", [at])
        yield Place(f"https://{at}/cat.png", visitors)
    await LiteLLMModel("any/model").aclose()


def about(url: str) -> ChatRequest:
    """A question about an image."""
    parts = (TextPart(text="What is it?"), ImagePart(url=url))
    return ChatRequest(messages=(UserMessage(text="What is it?", parts=parts),))


def model_at(llmock: IndependentProvider, *, wire: str) -> LiteLLMModel:
    return LiteLLMModel(f"{wire}/m", base_url=llmock.root + WIRES[wire], api_key="k")


@pytest.mark.parametrize("model", ["gemini/m", "bedrock/converse/m", "bedrock/anthropic.m"])
async def test_for_a_provider_that_takes_no_addresses_nothing_is_fetched(
    llmock: IndependentProvider, place: Place, model: str
) -> None:
    """However large it is, it would be in the memory of this process."""
    with pytest.raises(ImageRefused):
        await ask(LiteLLMModel(model, base_url=llmock.root, api_key="k"), about(place.url))

    assert place.visitors == []
    assert llmock.requests() == []


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_a_provider_that_takes_addresses_is_told_them(
    llmock: IndependentProvider, place: Place, wire: str
) -> None:
    await ask(model_at(llmock, wire=wire), about(place.url))

    [request] = llmock.requests()
    assert place.url in str(request["body"])
    assert place.visitors == []


@pytest.mark.parametrize("wire", WIRES)
async def test_an_image_that_is_in_the_request_arrives(llmock: IndependentProvider, place: Place, wire: str) -> None:
    await ask(model_at(llmock, wire=wire), about(f"data:image/gif;base64,{DATA}"))

    [request] = llmock.requests()
    assert DATA in str(request["body"])
