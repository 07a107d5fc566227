"""OpenAI's own client of both kinds, synchronous and not, at real servers: all that it can ask for, and every class of
error that it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.cable import Cable
from tests.client import Client
from tests.provider import ProviderProcess, Script
from tests.server import Kind, ServerProcess, Site

HI: Any = [{"role": "user", "content": "Hi"}]
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
LOOK_UP: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
THEIRS = {"tool": {"index": 0, "id": "c0", "name": "look_up", "arguments": '{"q": 1}'}}
OURS = {"tool": {"index": 1, "id": "c1", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}}
CONVERSATION = "X-Verbatim-Conversation-ID"


class Got(NamedTuple):
    """An answer: its headers, and itself, or its chunks."""

    headers: Mapping[str, str]
    parts: list[Any]

    @property
    def told(self) -> list[Any]:
        """The messages, or the deltas."""
        choices = [choice for part in self.parts for choice in part.choices]
        return [choice.delta if hasattr(choice, "delta") else choice.message for choice in choices]

    @property
    def text(self) -> str:
        return "".join(each.content or "" for each in self.told)

    @property
    def calls(self) -> list[Any]:
        return [call for each in self.told for call in each.tool_calls or ()]

    @property
    def finish_reason(self) -> str:
        """The last that is told."""
        return str([choice.finish_reason for part in self.parts for choice in part.choices][-1])


Asks: TypeAlias = Callable[..., Awaitable[Got]]
"""Asks, and waits for all of the answer. `options` are the client's; what else is given is the request's."""


@pytest.fixture(scope="module")
def server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """A server that lets nobody have more than two answers at a time."""
    with site.start(kind, chat={"MAX_TURNS_PER_USER": 2}) as process:
        yield process


@pytest.fixture(scope="module")
def reading_key(site: Site) -> str:
    """A key with which nobody may ask."""
    return site.manage("create_api_key", "reader", "--create-user", "--scope=read").strip()


@pytest.fixture(params=["sync", "async"])
async def asks(request: pytest.FixtureRequest, client: Client) -> AsyncIterator[Asks]:
    """A new user with one of the two clients, which never asks again on its own."""
    given: Any = {"base_url": f"{client.url}/v1", "api_key": client.key, "max_retries": 0, "timeout": 60}
    if request.param == "async":
        async with AsyncOpenAI(**given) as sdk:
            yield partial(asked, sdk)
    else:
        with OpenAI(**given) as plain:
            yield partial(asyncio.to_thread, asked_plainly, plain)


async def asked(sdk: AsyncOpenAI, *, options: Any = None, **fields: Any) -> Got:
    create = sdk.with_options(**options or {}).chat.completions.with_raw_response.create
    raw = await create(**{"model": "openai", "messages": HI, **fields})
    answer: Any = raw.parse()
    return Got(raw.headers, [part async for part in answer] if fields.get("stream") else [answer])


def asked_plainly(sdk: OpenAI, *, options: Any = None, **fields: Any) -> Got:
    create = sdk.with_options(**options or {}).chat.completions.with_raw_response.create
    raw = create(**{"model": "openai", "messages": HI, **fields})
    answer: Any = raw.parse()
    return Got(raw.headers, list(answer) if fields.get("stream") else [answer])


@pytest.mark.parametrize("fields", [{}, {"stream": True, "stream_options": {"include_usage": True}}], ids=str)
async def test_an_answer_has_its_text_its_end_and_what_it_has_used(
    asks: Asks, provider: ProviderProcess, fields: Any
) -> None:
    provider.script([{"reasoning": "Hm."}, {"text": "Good "}, {"text": "day \U0001f44d\U0001f3fd."}])

    got = await asks(**fields)

    usage = got.parts[-1].usage
    assert (got.text, got.finish_reason) == ("Good day \U0001f44d\U0001f3fd.", "stop")
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 3, 4)
    assert got.parts[0].id == f"chatcmpl-{got.headers['X-Request-ID'].replace('-', '')}"


TOOLS: list[tuple[str, Script, list[str]]] = [
    ("theirs", [THEIRS], ["Sunny."]),
    ("ours", [OURS], ["42"]),
    ("both", [THEIRS, OURS], ["Sunny.", "42"]),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("whose", "calls", "contents"), TOOLS, ids=[whose for whose, _, _ in TOOLS])
async def test_tools_of_the_caller_of_the_site_and_of_both_are_answered(
    asks: Asks, provider: ProviderProcess, whose: str, calls: Script, contents: list[str], stream: bool
) -> None:
    provider.script([[{"text": "Let me see."}, *calls], [{"text": "Done."}]], strict=True)

    got = await asks(stream=stream, tools=[LOOK_UP])
    if whose != "ours":
        assert [(call.function.name, call.function.arguments) for call in got.calls] == [("look_up", '{"q": 1}')]
        assert (got.text, got.finish_reason) == ("Let me see.", "tool_calls")
        result = {"role": "tool", "tool_call_id": got.calls[0].id, "content": "Sunny."}
        goes_on = {CONVERSATION: got.headers[CONVERSATION]}
        got = await asks(stream=stream, tools=[LOOK_UP], messages=[result], extra_headers=goes_on)

    _, _, *results = provider.log()[-1]["body"]["messages"]
    assert (got.text[-5:], got.finish_reason, got.calls) == ("Done.", "stop", [])
    assert [result["content"] for result in results] == contents


@pytest.mark.parametrize("stream", [False, True])
async def test_an_image_reaches_the_provider_as_it_is(asks: Asks, provider: ProviderProcess, stream: bool) -> None:
    provider.script([{"text": "A pixel."}], strict=True)
    parts: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]

    got = await asks(messages=[{"role": "user", "content": parts}], stream=stream)

    assert got.text == "A pixel."
    assert provider.log()[0]["body"]["messages"][-1]["content"] == parts


def named(script: str) -> Any:
    """A message that asks for this one of the provider's scripts."""
    return [{"role": "user", "content": f"[[{script}]]"}]


def refuses(status: int, **error: Any) -> Script:
    """A provider that would rather not, and says that asking again soon is no use."""
    return [{"status": status, "headers": {"Retry-After": "60"}, "body": {"error": {"message": "secret", **error}}}]


SCRIPTS = {
    "no-images": refuses(400, message="This model does not support image inputs."),
    "too-long": refuses(400, code="context_length_exceeded"),
    "limited": refuses(429),
    "away": refuses(500),
    "key-is-wrong": refuses(401),
    "goes-on": [{"text": "Good "}, {"gate": "never"}],
    "breaks-off": [{"text": "Good "}, {"close": True}],
}
Refused: TypeAlias = tuple[dict[str, Any], type[openai.APIStatusError], int, str]
REFUSED: list[Refused] = [
    ({"n": 2}, openai.BadRequestError, 400, "invalid_value"),
    ({"messages": named("no-images")}, openai.BadRequestError, 400, "image_refused"),
    ({"messages": named("too-long")}, openai.BadRequestError, 400, "context_length_exceeded"),
    ({"options": {"api_key": "sk-wrong"}}, openai.AuthenticationError, 401, "invalid_api_key"),
    ({"model": "none"}, openai.NotFoundError, 404, "model_not_found"),
    ({"extra_headers": {CONVERSATION: "none"}}, openai.NotFoundError, 404, "not_found"),
    ({"messages": named("limited")}, openai.RateLimitError, 429, "rate_limit_exceeded"),
    ({"messages": named("away")}, openai.InternalServerError, 503, "unavailable"),
    ({"messages": named("key-is-wrong")}, openai.InternalServerError, 503, "authentication_failed"),
]


@pytest.mark.parametrize("stream", [False, True])
async def test_whatever_is_refused_is_an_error_of_its_class(
    asks: Asks, provider: ProviderProcess, reading_key: str, stream: bool
) -> None:
    provider.script(named=SCRIPTS)
    forbidden: Refused = ({"options": {"api_key": reading_key}}, openai.PermissionDeniedError, 403, "forbidden")

    for fields, raised, status, code in (*REFUSED, forbidden):
        with pytest.raises(openai.APIStatusError) as refused:
            await asks(stream=stream, **fields)
        assert (type(refused.value), refused.value.status_code, refused.value.code) == (raised, status, code)
        assert "secret" not in str(refused.value.body)


async def test_an_answer_in_progress_is_in_the_way_of_its_key_its_conversation_and_a_third_one(
    asks: Asks, client: Client, provider: ProviderProcess
) -> None:
    provider.script(named=SCRIPTS)
    async with AsyncOpenAI(base_url=f"{client.url}/v1", api_key=client.key, max_retries=0, timeout=60) as sdk:
        create = sdk.chat.completions.with_raw_response.create
        endless: Any = {"model": "openai", "messages": named("goes-on"), "stream": True}
        first = await create(**endless, extra_headers={"Idempotency-Key": "first"})
        goes_on = {CONVERSATION: first.headers[CONVERSATION]}

        with pytest.raises(openai.UnprocessableEntityError) as another:
            await asks(extra_headers={"Idempotency-Key": "first"})
        with pytest.raises(openai.ConflictError) as busy:
            await asks(extra_headers=goes_on)
        await create(**endless)
        with pytest.raises(openai.RateLimitError) as third:
            await asks()

    codes = [refused.value.code for refused in (another, busy, third)]
    assert codes == ["request_conflict", "turn_active", "rate_limit_exceeded"]
    assert int(third.value.response.headers["Retry-After"]) > 0


async def test_an_error_in_mid_stream_is_raised_where_the_text_ends(asks: Asks, provider: ProviderProcess) -> None:
    provider.script(named=SCRIPTS)

    with pytest.raises(openai.APIError) as broken:
        await asks(messages=named("breaks-off"), stream=True)

    assert (broken.value.code, broken.value.type) == ("truncated", "server_error")


async def test_a_stream_that_is_cut_and_asked_for_again_has_all_its_words_once(
    asks: Asks, server: ServerProcess, provider: ProviderProcess
) -> None:
    provider.script([{"words": 40, "rate": 100}])
    asked: Any = {"stream": True, "extra_headers": {"Idempotency-Key": "cut"}}

    with Cable(server.port) as cable:
        cable.cut_behind(b"w0012")
        asked["options"] = {"base_url": f"{cable.url}/v1"}
        with pytest.raises((httpx.HTTPError, openai.APIError)):
            await asks(**asked)
        got = await asks(**asked)

    assert got.text == "".join(f"w{number:04d} " for number in range(1, 41))
    assert len(provider.log()) == 1
