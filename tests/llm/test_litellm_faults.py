"""Every fault of a provider behind litellm ends in its own typed error, and what was said before it is kept."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from llm.deadlines import Deadlines
from llm.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    EmptyReply,
    Malformed,
    ModelError,
    RateLimited,
    Stalled,
    TimedOut,
    Truncated,
    Unavailable,
)
from llm.reply import Reply
from llm.through_litellm import LiteLLMModel
from llm.types import TextDelta
from tests.independent import IndependentProvider
from tests.llm.conftest import REQUEST, ask, litellm_warns
from tests.llm.test_openai_faults import Steps, refusal
from tests.llm.wire import Wire, anthropic, block, candidate, delta, gemini, serving, started, stopped
from tests.provider import ProviderProcess

pytestmark = litellm_warns

WIRES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "openai": "/v1"}
KEY = "sk-canary-0123456789"
SO_FAR = anthropic(
    started(),
    block(0, type="thinking", thinking=""),
    delta(0, type="thinking_delta", thinking="so good"),
    block(1, type="text", text=""),
    delta(1, type="text_delta", text="So far "),
)


@pytest.fixture(scope="module")
def llmock() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=3) as process:
        yield process


@pytest_asyncio.fixture
async def model(provider: ProviderProcess) -> AsyncIterator[LiteLLMModel]:
    """OpenAI's format through litellm, with deadlines short enough to see them pass."""
    deadlines = Deadlines(connect=2, first_token=2, stall=1, total=5, ending=0.3)
    model = LiteLLMModel("openai/scripted", base_url=provider.base_url, api_key=KEY, deadlines=deadlines)
    yield model
    await model.aclose()


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    async with serving() as wire:
        yield wire


def at(wire: Wire, *, provider: str, **deadlines: float) -> LiteLLMModel:
    return LiteLLMModel(f"{provider}/m", base_url=wire.url, api_key=KEY, deadlines=Deadlines(**deadlines))


@pytest.mark.parametrize(
    ("status", "more", "error"),
    [
        (400, {}, BadRequest),
        (400, {"code": "context_length_exceeded"}, ContextTooLong),
        (401, {}, AuthenticationFailed),
        (403, {}, AuthenticationFailed),
        (404, {}, BadRequest),
        (422, {}, BadRequest),
        (429, {"retry_after": 7}, RateLimited),
        (500, {}, Unavailable),
        (503, {}, Unavailable),
        (529, {}, Unavailable),
    ],
)
@pytest.mark.parametrize("name", WIRES)
async def test_an_error_status_has_its_error(
    llmock: IndependentProvider, model: LiteLLMModel, name: str, status: int, more: dict[str, Any], error: Any
) -> None:
    llmock.reset()
    llmock.fail(status, times=None, **more)
    asked = LiteLLMModel(f"{name}/m", base_url=llmock.root + WIRES[name], api_key=KEY)

    with pytest.raises(error) as raised:
        await ask(asked)

    assert raised.value.retry_after == (7 if status == 429 else raised.value.retry_after)
    assert [request["status"] for request in llmock.requests()] == [status], "it was asked once"


@pytest.mark.parametrize("kind", ["truncate", "disconnect", "malformed"])
@pytest.mark.parametrize("name", WIRES)
async def test_a_stream_that_breaks_has_its_error_and_what_was_said_is_kept(
    llmock: IndependentProvider, model: LiteLLMModel, name: str, kind: str
) -> None:
    llmock.reset()
    llmock.reply("one two three four five six seven")
    llmock.plan({"type": "stream_fault", "kind": kind, "after_chunks": 5})
    asked = LiteLLMModel(f"{name}/m", base_url=llmock.root + WIRES[name], api_key=KEY)
    reply = Reply()

    with pytest.raises((Truncated, Malformed)):
        await ask(asked, into=reply)

    assert reply.text.startswith("one two ")
    assert "seven" not in reply.text


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (refusal(429, "insufficient_quota"), RateLimited),
        (refusal(400, None, "This model's maximum context length is 8192 tokens."), ContextTooLong),
        (refusal(408), Unavailable),
        ([{"status": 502, "body": "<html>Bad gateway</html>"}], Unavailable),
        ([{"status": 400, "body": ["nonsense"]}], BadRequest),
        ([{"status": 200, "body": {"choices": [{"message": {"content": "whole"}}]}}], Truncated),
        ([{"reset": True}], Unavailable),
        ([{"open": True}, {"reset": True}], Unavailable),
        ([{"open": True}, {"close": True}], Truncated),
        ([{"silence": 30}], Stalled),
        ([{"open": True}, {"silence": 30}], Stalled),
        ([{"comment": "keep-alive"}, {"silence": 30}], Stalled),
        ([{"raw": "data: {not json\n\n"}], Malformed),
        ([{"raw": "data: [1, 2]\n\n"}], Malformed),
        ([{"error_event": {"message": "Oops", "code": "server_error"}}], Unavailable),
        ([{"finish": "stop"}], EmptyReply),
        ([{"finish": "tool_calls"}], EmptyReply),
        ([{"raw": "data: [DONE]\n\n"}, {"close": True}], Truncated),
    ],
)
async def test_a_fault_before_the_first_word_has_its_error(
    provider: ProviderProcess, model: LiteLLMModel, steps: Steps, error: type[ModelError]
) -> None:
    provider.script(steps)
    reply = Reply()

    with pytest.raises(error):
        await ask(model, into=reply)

    assert (reply.runs, reply.calls()) == ((), ())
    assert len(provider.log()) == 1


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([{"silence": 30}], Stalled),
        ([{"comment": "keep-alive"}, {"pause": 0.2}] * 40, Stalled),
        ([{"words": 100, "rate": 5}], TimedOut),
        ([{"pause": 0.05}, {"reset": True}], Truncated),
        ([{"close": True}], Truncated),
        ([{"raw": "data: {not json\n\n"}, {"text": "never"}], Malformed),
        ([{"error_event": {"message": "Busy", "type": "rate_limit_error"}}], RateLimited),
        ([{"error_event": {"message": "Oops", "code": 502}}], Unavailable),
        ([{"error_event": {"message": "maximum context length", "type": "x"}}], ContextTooLong),
        ([{"error_event": {"code": "invalid_api_key"}}], AuthenticationFailed),
    ],
)
async def test_a_fault_in_mid_answer_has_its_error_and_what_was_said_is_kept(
    provider: ProviderProcess, model: LiteLLMModel, steps: Steps, error: type[ModelError]
) -> None:
    provider.script([{"text": "So far "}, {"reasoning": "so good"}, *steps])
    reply = Reply()

    with pytest.raises(error):
        await ask(model, into=reply)

    assert reply.text.startswith("So far ")
    assert reply.reasoning == "so good"
    assert "never" not in reply.text


@pytest.mark.parametrize("after", [{"close": True}, {"pause": 0.05}, {"silence": 30}, {"reset": True}])
async def test_once_the_finish_reason_is_known_any_end_is_an_end(
    provider: ProviderProcess, model: LiteLLMModel, after: dict[str, Any]
) -> None:
    provider.script([{"text": "done"}, {"finish": "stop"}, {"pause": 0.05}, after])

    reply = await ask(model)

    assert (reply.text, reply.finish_reason) == ("done", "stop")


async def test_anthropics_own_error_in_mid_answer_has_its_error(wire: Wire, model: LiteLLMModel) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    wire.body = SO_FAR + anthropic(overloaded)
    reply = Reply()

    with pytest.raises(Unavailable):
        await ask(at(wire, provider="anthropic"), into=reply)

    assert (reply.text, reply.reasoning) == ("So far ", "so good")


async def test_geminis_own_error_in_mid_answer_has_its_error(wire: Wire, model: LiteLLMModel) -> None:
    exhausted = {"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}
    wire.body = gemini(candidate("So far "), exhausted)
    reply = Reply()

    with pytest.raises(RateLimited):
        await ask(at(wire, provider="gemini"), into=reply)

    assert reply.text == "So far "


async def test_a_gemini_stream_without_finish_reason_is_truncated_whatever_litellm_makes_of_it(
    wire: Wire, model: LiteLLMModel
) -> None:
    wire.body = gemini(candidate("It says "), candidate('"finishReason"'))
    reply = Reply()

    with pytest.raises(Truncated):
        await ask(at(wire, provider="gemini"), into=reply)

    assert reply.text == 'It says "finishReason"'


async def test_a_gemini_stream_that_hangs_after_its_finish_reason_has_ended(wire: Wire, model: LiteLLMModel) -> None:
    wire.body = gemini(candidate("Done."), candidate("", finishReason="STOP"))
    wire.hangs = True

    reply = await ask(at(wire, provider="gemini", stall=0.3))

    assert (reply.text, reply.finish_reason) == ("Done.", "stop")


async def test_an_answer_of_nothing_is_an_error_but_for_a_reason_that_explains_it(
    wire: Wire, model: LiteLLMModel
) -> None:
    wire.body = anthropic(started(), *stopped("end_turn"))
    with pytest.raises(EmptyReply):
        await ask(at(wire, provider="anthropic"))

    wire.body = anthropic(started(), *stopped("max_tokens"))
    assert (await ask(at(wire, provider="anthropic"))).finish_reason == "length"


async def test_a_refused_connection_is_unavailable(model: LiteLLMModel) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        for name in WIRES:
            with pytest.raises(Unavailable):
                await ask(LiteLLMModel(f"{name}/m", base_url=address, api_key=KEY))


async def test_a_connection_that_never_stands_is_unavailable(model: LiteLLMModel) -> None:
    with ExitStack() as sockets:
        full, *fillers = (sockets.enter_context(socket.socket()) for _ in range(9))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        address = f"http://127.0.0.1:{full.getsockname()[1]}"

        with pytest.raises(Unavailable):
            await ask(LiteLLMModel("openai/m", base_url=address, api_key=KEY, deadlines=Deadlines(connect=0.3)))


async def test_a_slow_reader_is_not_taken_for_a_stalled_model(provider: ProviderProcess, model: LiteLLMModel) -> None:
    impatient = Deadlines(first_token=1, stall=0.1, total=5)
    slow = LiteLLMModel("openai/scripted", base_url=provider.base_url, api_key=KEY, deadlines=impatient)
    provider.script([{"text": "a"}, {"pause": 1.3}, {"text": "b"}])
    stream = slow.stream(REQUEST)
    first = await anext(stream)

    await provider.requests_async(1, ended=True)  # long past both deadlines, but nothing was waited for
    rest = [delta async for delta in stream]

    assert [first, rest[0]] == [TextDelta(text="a"), TextDelta(text="b")]


async def test_a_call_keeps_to_the_time_its_request_has_left(provider: ProviderProcess, model: LiteLLMModel) -> None:
    provider.script([{"words": 100, "rate": 20}])
    reply = Reply()

    with pytest.raises(TimedOut):
        await ask(model, msgspec.structs.replace(REQUEST, time_limit=0.5), into=reply)

    assert reply.text.startswith("w0001 ")


async def test_a_quota_that_is_used_up_is_not_worth_another_try(provider: ProviderProcess, model: LiteLLMModel) -> None:
    provider.script(refusal(429, "insufficient_quota"))

    with pytest.raises(RateLimited) as raised:
        await ask(model)

    assert not raised.value.retryable


async def test_neither_error_nor_log_tells_key_address_or_what_the_provider_said(
    provider: ProviderProcess, model: LiteLLMModel, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    words = f"Key {KEY} (also Bearer {KEY}) is wrong, see http://ada:pass-canary@host/x?key=query-canary"
    told = []
    caplog.set_level(logging.DEBUG)

    provider.script(queue=[refusal(401, None, words), [{"error_event": {"message": words}}], [{"reset": True}]])
    for _ in range(3):
        with pytest.raises(ModelError) as raised:
            await ask(model)
        told.append("".join(traceback.format_exception(raised.value)) + raised.value.message)
        assert raised.value.__context__ is None

    printed = "".join(capfd.readouterr())
    assert not [text for text in told if "canary" in text or "is wrong" in text or str(provider.port) in text]
    assert "is wrong" in caplog.text
    assert "canary" not in caplog.text + printed + repr(model)
    assert "litellm" not in printed.replace("llm.through_litellm", "").lower()
