"""OpenAI's own client, as it is, at real servers: answers, streams, silence, errors, repeats and deaths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.client import Client
from tests.provider import ProviderProcess, Script
from tests.server import Kind, NewSite, ServerProcess, Site
from tests.system.cluster import LONG

HI: Any = [{"role": "user", "content": "Hi"}]
SAID = ("Good ", "day ", "\U0001f44d\U0001f3fd data: {}\n\n: blah\u2028\x85")
SCRIPT: Script = [{"reasoning": "Hm."}, *({"text": text} for text in SAID)]
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
LOOK_UP: Any = [{"type": "function", "function": {"name": "look_up"}}]
SILENCES, IMPATIENCE = ((40.0, 65.0), 20.0) if LONG else ((2.0, 4.0), 1.5)
"""When a provider speaks, and how long the client waits for anything to come, in seconds."""
RESTLESS = {"LEASE": 1.0, "LEASE_RENEWAL": 0.2}


@pytest.fixture(scope="module")
def server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """A server whose heart beats fast."""
    with site.start(kind, chat={"HEARTBEAT": 0.1, "GATEWAY_PATIENCE": 0.3}) as process:
        yield process


@pytest.fixture
async def sdk(client: Client) -> AsyncIterator[AsyncOpenAI]:
    """The asynchronous client of a new user."""
    async with AsyncOpenAI(base_url=f"{client.url}/v1", api_key=client.key, max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture
def plain_sdk(client: Client) -> Iterator[OpenAI]:
    """The other one."""
    with OpenAI(base_url=f"{client.url}/v1", api_key=client.key, max_retries=0, timeout=20) as sdk:
        yield sdk


async def text_of(stream: Any) -> str:
    """All that comes."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


def test_the_synchronous_client_gets_models_answers_streams_and_headers(
    plain_sdk: OpenAI, provider: ProviderProcess
) -> None:
    provider.script([*SCRIPT])

    models = [model.id for model in plain_sdk.models.list()]
    raw = plain_sdk.chat.completions.with_raw_response.create(model="openai", messages=HI)
    whole = raw.parse()
    chunks = list(
        plain_sdk.chat.completions.create(
            model="openai", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )

    assert models == ["openai", "demo"]
    assert whole.choices[0].message.content == "".join(SAID)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(SAID)
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0
    assert chunks[-1].usage == whole.usage
    assert raw.headers["X-Verbatim-Conversation-ID"]
    assert whole.id == f"chatcmpl-{raw.headers['X-Request-ID'].replace('-', '')}"


async def test_the_first_word_is_there_while_the_model_still_speaks(
    sdk: AsyncOpenAI, provider: ProviderProcess
) -> None:
    provider.script([{"text": SAID[0]}, {"gate": "more"}, {"text": SAID[1]}])

    stream = aiter(await sdk.chat.completions.create(model="openai", messages=HI, stream=True))
    first = await anext(stream)
    second = await anext(stream)
    await asyncio.to_thread(provider.open_gate, "more")

    assert (first.choices[0].delta.role, second.choices[0].delta.content) == ("assistant", SAID[0])
    assert await text_of(stream) == SAID[1]


async def test_a_silence_longer_than_the_clients_patience_is_survived(
    kind: Kind,
    servers: Callable[[Kind], ServerProcess],
    sdk: AsyncOpenAI,
    provider: ProviderProcess,
) -> None:
    """R14: each silence is longer than the client waits for a sign of life; in the long form at a server whose heart
    beats as it comes, in the short one on another scale."""
    address = f"{servers(kind).url}/v1" if LONG else sdk.base_url
    provider.script([{"gate": "first"}, {"text": SAID[0]}, {"gate": "second"}, {"text": SAID[1]}])
    loop = asyncio.get_running_loop()
    for name, seconds in zip(("first", "second"), SILENCES, strict=True):
        loop.call_later(seconds, loop.run_in_executor, None, provider.open_gate, name)

    impatient = sdk.with_options(timeout=IMPATIENCE, base_url=address)
    said = await text_of(await impatient.chat.completions.create(model="openai", messages=HI, stream=True))

    assert said == SAID[0] + SAID[1]


@pytest.mark.parametrize("streams", [False, True])
async def test_a_provider_that_refuses_is_an_error_with_its_class(
    kind: Kind,
    servers: Callable[[Kind], ServerProcess],
    sdk: AsyncOpenAI,
    provider: ProviderProcess,
    streams: bool,
) -> None:
    """Also at the beginning of a stream, at a server that is patient, as all are that nobody has told otherwise."""
    patient = sdk.with_options(base_url=f"{servers(kind).url}/v1")
    provider.script([{"status": 400, "body": {"error": {"message": "secret", "code": "context_length_exceeded"}}}])

    with pytest.raises(openai.BadRequestError) as refused:
        await patient.chat.completions.create(model="openai", messages=HI, stream=streams)

    assert refused.value.code == "context_length_exceeded"
    assert "secret" not in str(refused.value.body)


async def test_a_provider_that_breaks_off_ends_the_stream_with_an_error(
    sdk: AsyncOpenAI, provider: ProviderProcess
) -> None:
    provider.script([{"text": SAID[0]}, {"close": True}])

    stream = await sdk.chat.completions.create(model="openai", messages=HI, stream=True)

    with pytest.raises(openai.APIError) as broken:
        await text_of(stream)
    assert broken.value.code == "truncated"


@pytest.mark.parametrize("streams", [False, True])
async def test_who_has_said_so_stops_the_turn_by_leaving(
    sdk: AsyncOpenAI, client: Client, provider: ProviderProcess, streams: bool
) -> None:
    provider.script([{"text": SAID[0]}, {"gate": "never"}])
    conversation = await client.new_conversation()
    headers = {"X-Verbatim-Conversation-ID": conversation, "X-Verbatim-On-Disconnect": "cancel"}
    asked: Any = {"model": "openai", "messages": HI, "stream": streams, "extra_headers": headers}
    has_begun = asyncio.Event()

    async def ask() -> None:
        answer: Any = await sdk.chat.completions.create(**asked)
        async for _ in answer:
            has_begun.set()

    asking = asyncio.create_task(ask())
    await provider.requests_async(1)
    if streams:
        async with asyncio.timeout(20):
            await has_begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    [request] = await provider.requests_async(1, ended=True)
    [turn] = (await client.call("GET", f"/api/v1/conversations/{conversation}/turns/"))["results"]
    answer = await client.call("GET", f"/api/v1/turns/{turn['id']}/response/")
    assert request["ended"] == "closed by client"
    assert answer["status"] == "cancelled"


async def test_a_wrong_key_is_an_authentication_error(sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        await sdk.with_options(api_key="sk-wrong").chat.completions.create(model="openai", messages=HI)

    assert refused.value.code == "invalid_api_key"


async def test_one_key_twice_at_once_is_one_call_and_the_same_text_twice(
    sdk: AsyncOpenAI, provider: ProviderProcess
) -> None:
    """R3."""
    provider.script([{"text": SAID[0]}, {"gate": "more"}, {"text": SAID[1]}])
    keyed = {"Idempotency-Key": "twice"}

    streams = [
        await sdk.chat.completions.create(model="openai", messages=HI, stream=True, extra_headers=keyed)
        for _ in range(2)
    ]
    await asyncio.to_thread(provider.open_gate, "more")
    said = await asyncio.gather(*map(text_of, streams))

    assert said == [SAID[0] + SAID[1]] * 2
    assert len(provider.log()) == 1


async def test_tools_of_both_and_images_go_to_a_careful_provider_and_back(
    sdk: AsyncOpenAI, provider: ProviderProcess
) -> None:
    calls = [
        {"tool": {"index": 0, "id": "c0", "name": "look_up", "arguments": '{"q": 1}'}},
        {"tool": {"index": 1, "id": "c1", "name": "calculator", "arguments": '{"expression": "1+1"}'}},
    ]
    provider.script([[{"text": "Let me see."}, *calls], [{"text": "Two, and good."}]], strict=True)
    asked: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]

    stream = await sdk.chat.completions.create(model="openai", messages=asked, tools=LOOK_UP, stream=True)
    chunks = [chunk async for chunk in stream]
    told = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    said = {"role": "assistant", "content": "Let me see.", "tool_calls": [told[0].model_dump(exclude={"index"})]}
    answered = [*asked, said, {"role": "tool", "tool_call_id": told[0].id, "content": "Good."}]
    whole = await sdk.chat.completions.create(model="openai", messages=answered, tools=LOOK_UP)

    first, second = [entry["body"] for entry in provider.log()]
    assert [call.function.name for call in told if call.function] == ["look_up"]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert {tool["function"]["name"] for tool in first["tools"]} == {"look_up", "calculator", "current_time"}
    assert first["messages"][-1]["content"] == [{"type": "image_url", "image_url": {"url": PIXEL}}]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool"]
    assert whole.choices[0].message.content == "Two, and good."


async def test_the_server_is_killed_in_mid_stream_and_the_same_key_gets_the_answer(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R10."""
    provider.script([{"text": SAID[1]}], queue=[[{"text": SAID[0]}, {"gate": "never"}]])
    site, key = new_site()
    keyed = {"Idempotency-Key": "killed"}
    with site.start(kind, chat=RESTLESS) as server:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as sdk:
            stream = aiter(
                await sdk.chat.completions.create(model="openai", messages=HI, stream=True, extra_headers=keyed)
            )
            assert (await anext(stream)).choices[0].delta.role == "assistant"
            await asyncio.to_thread(server.kill)
            with pytest.raises(httpx.HTTPError):
                await text_of(stream)

    with site.start(kind, chat=RESTLESS) as server:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as sdk:
            said = await text_at_last(sdk, keyed)

    assert said == SAID[1]


async def text_at_last(sdk: AsyncOpenAI, keyed: Any) -> str:
    """All that comes to one who asks again when that is what the error says: what was stored of the answer's beginning
    may be shown before the turn is begun again."""
    while True:
        stream = await sdk.chat.completions.create(model="openai", messages=HI, stream=True, extra_headers=keyed)
        try:
            return await text_of(stream)
        except openai.APIError as broken:
            if broken.code != "answer_restarted":
                raise
