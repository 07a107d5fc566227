"""Every fault of a provider ends in its own typed error, and what was said before it is kept."""

from __future__ import annotations

import logging
import socket
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from llm.deadlines import Deadlines
from llm.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    EmptyReply,
    ImageRefused,
    Malformed,
    ModelError,
    NotStreaming,
    RateLimited,
    Stalled,
    TimedOut,
    Truncated,
    Unavailable,
)
from llm.openai import OpenAIModel
from llm.reply import Reply
from llm.types import TextDelta
from tests.llm.conftest import REQUEST, ask
from tests.provider import ProviderProcess

HOUR = timedelta(hours=1)
Steps = list[dict[str, Any]]


def refusal(status: int, code: str | None = None, message: str = "No.", **headers: str) -> Steps:
    error = {"message": message, "type": "some_error", "param": None, "code": code}
    return [{"status": status, "body": {"error": error}, "headers": headers}]


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (refusal(429, "rate_limit_exceeded"), RateLimited),
        (refusal(429, "insufficient_quota"), RateLimited),
        (refusal(401, "invalid_api_key"), AuthenticationFailed),
        (refusal(403), AuthenticationFailed),
        (refusal(400, "context_length_exceeded"), ContextTooLong),
        (refusal(400, None, "This model's maximum context length is 8192 tokens."), ContextTooLong),
        (refusal(413, None, "Prompt is too long"), ContextTooLong),
        (refusal(422, "context_length_exceeded"), ContextTooLong),
        (refusal(400), BadRequest),
        (refusal(404, "model_not_found"), BadRequest),
        (refusal(404, message="The model gpt-image-9 does not exist"), BadRequest),
        (refusal(404, message="No endpoints found that support image input"), ImageRefused),
        (refusal(400, message="unknown variant `image_url`, expected `text`"), ImageRefused),
        (refusal(302, Location="http://127.0.0.1:9/"), BadRequest),
        (refusal(408), Unavailable),
        (refusal(500), Unavailable),
        (refusal(503), Unavailable),
        (refusal(529), Unavailable),
        ([{"status": 502, "body": "<html>Bad gateway</html>"}], Unavailable),
        ([{"status": 400, "body": ["nonsense"]}], BadRequest),
        ([{"status": 200, "body": {"choices": [{"message": {"content": "whole"}}]}}], NotStreaming),
        ([{"status": 200, "body": "hello", "headers": {"Content-Type": "text/plain"}}], NotStreaming),
        ([{"status": 200, "body": {"error": {"code": 429, "message": "Slow down"}}}], RateLimited),
        ([{"reset": True}], Unavailable),
        ([{"open": True}, {"reset": True}], Truncated),
        ([{"open": True}, {"close": True}], Truncated),
        ([{"silence": 30}], Stalled),
        ([{"open": True}, {"silence": 30}], Stalled),
        ([{"comment": "keep-alive"}, {"silence": 30}], Stalled),
        ([{"raw": "data: {not json\n\n"}], Malformed),
        ([{"raw": "data: [1, 2]\n\n"}], Malformed),
        ([{"chunk": {"choices": [{"delta": {"content": 7}}]}}], Malformed),
        ([{"error_event": {"message": "Oops", "code": "server_error"}}], Unavailable),
        ([{"finish": "stop"}], EmptyReply),
        ([{"finish": "tool_calls"}], EmptyReply),
        ([{"raw": "data: [DONE]\n\n"}, {"close": True}], Truncated),
    ],
)
async def test_a_fault_before_the_first_word_has_its_error(
    provider: ProviderProcess, openai: OpenAIModel, steps: Steps, error: type[ModelError]
) -> None:
    """A2.1 among them: an answer that is no stream is refused before anything is said. A2.16: so is an empty one."""
    provider.script(steps)
    reply = Reply()

    with pytest.raises(error):
        await ask(openai, into=reply)

    assert (reply.runs, reply.calls()) == ((), ())
    assert len(provider.log()) == 1


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([{"silence": 30}], Stalled),
        ([{"comment": "keep-alive"}, {"silence": 30}], Stalled),
        ([{"comment": "keep-alive"}, {"pause": 0.2}] * 40, Stalled),
        ([{"words": 100, "rate": 5}], TimedOut),
        ([{"pause": 0.05}, {"reset": True}], Truncated),
        ([{"close": True}], Truncated),
        ([{"raw": "data: [DONE]\n\n"}, {"close": True}], Truncated),
        ([{"raw": "data: {not json\n\n"}, {"text": "never"}], Malformed),
        ([{"error_event": {"message": "Busy", "type": "rate_limit_error"}}], RateLimited),
        ([{"error_event": {"message": "Oops", "code": 502}}], Unavailable),
        ([{"error_event": {"message": "Oops", "code": "502"}}], Unavailable),
        ([{"error_event": {"message": "maximum context length", "type": "x"}}], ContextTooLong),
        ([{"error_event": {"code": "invalid_api_key"}}], AuthenticationFailed),
    ],
)
async def test_a_fault_in_mid_answer_has_its_error_and_what_was_said_is_kept(
    provider: ProviderProcess, openai: OpenAIModel, steps: Steps, error: type[ModelError]
) -> None:
    provider.script([{"text": "So far "}, {"reasoning": "so good"}, *steps])
    reply = Reply()

    with pytest.raises(error):
        await ask(openai, into=reply)

    assert reply.text.startswith("So far ")
    assert reply.reasoning == "so good"
    assert "never" not in reply.text


async def test_what_stands_before_a_malformed_line_in_one_packet_is_kept(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    good = 'data: {"choices":[{"delta":{"content":"kept"}}]}\n\n'
    provider.script([{"raw": good + "data: {\n\n" + good}])
    reply = Reply()

    with pytest.raises(Malformed):
        await ask(openai, into=reply)

    assert reply.text == "kept"


@pytest.mark.parametrize("after", [{"close": True}, {"pause": 0.05}, {"silence": 30}, {"reset": True}])
async def test_once_the_finish_reason_is_known_any_end_is_an_end(
    provider: ProviderProcess, openai: OpenAIModel, after: dict[str, Any]
) -> None:
    provider.script([{"text": "done"}, {"finish": "stop"}, {"pause": 0.05}, after])

    reply = await ask(openai)

    assert (reply.text, reply.finish_reason) == ("done", "stop")


@pytest.mark.parametrize("after", [{"close": True}, {"silence": 30}, {"reset": True}])
async def test_an_event_that_the_end_cuts_short_after_the_finish_reason_costs_nothing(
    provider: ProviderProcess, openai: OpenAIModel, after: dict[str, Any]
) -> None:
    cut = {"raw": 'data: {"choices":[],"usage":{"prompt_'}
    provider.script([{"text": "done"}, {"finish": "stop"}, cut, {"pause": 0.05}, after])

    reply = await ask(openai)

    assert (reply.text, reply.finish_reason, reply.usage) == ("done", "stop", None)


@pytest.mark.parametrize("after", [{"close": True}, {"reset": True}])
async def test_an_answer_that_is_cut_within_an_event_is_truncated_not_malformed(
    provider: ProviderProcess, openai: OpenAIModel, after: dict[str, Any]
) -> None:
    provider.script([{"text": "So far"}, {"raw": 'data: {"choices":[{"delta":{"cont'}, {"pause": 0.05}, after])
    reply = Reply()

    with pytest.raises(Truncated):
        await ask(openai, into=reply)

    assert reply.text == "So far"


async def test_a_refused_connection_is_unavailable(openai: OpenAIModel) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        model = OpenAIModel(f"http://127.0.0.1:{nobody.getsockname()[1]}/v1", model="m")

        with pytest.raises(Unavailable):
            await ask(model)

    await model.aclose()


async def test_a_host_without_an_address_is_unavailable() -> None:
    model = OpenAIModel("http://nowhere.invalid/v1", model="m", deadlines=Deadlines(connect=3))

    with pytest.raises(Unavailable):
        await ask(model)

    await model.aclose()


async def test_a_connection_that_never_stands_is_unavailable() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        model = OpenAIModel(f"http://127.0.0.1:{address[1]}/v1", model="m", deadlines=Deadlines(connect=0.3))

        with pytest.raises(Unavailable):
            await ask(model)

        await model.aclose()
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
    ],
)
async def test_a_provider_says_when_to_come_back(
    provider: ProviderProcess, openai: OpenAIModel, said: str, least: float, most: float
) -> None:
    provider.script(refusal(429, **{"Retry-After": said}))

    with pytest.raises(RateLimited) as raised:
        await ask(openai)

    assert raised.value.retry_after is not None
    assert least <= raised.value.retry_after <= most
    assert raised.value.status == 429


async def test_a_provider_says_at_what_time_to_come_back(provider: ProviderProcess, openai: OpenAIModel) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    provider.script(refusal(429, **{"Retry-After": in_an_hour}))

    with pytest.raises(RateLimited) as raised:
        await ask(openai)

    assert raised.value.retry_after is not None
    assert 3000 <= raised.value.retry_after <= 3600


@pytest.mark.parametrize("said", ["soon", "nan", "inf", ""])
async def test_a_provider_that_says_nonsense_about_it_says_nothing(
    provider: ProviderProcess, openai: OpenAIModel, said: str
) -> None:
    provider.script(refusal(429, **{"Retry-After": said}))

    with pytest.raises(RateLimited) as raised:
        await ask(openai)

    assert raised.value.retry_after is None


async def test_a_quota_that_is_used_up_is_not_worth_another_try(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script(refusal(429, "insufficient_quota"))

    with pytest.raises(RateLimited) as raised:
        await ask(openai)

    assert not raised.value.retryable
    assert RateLimited.retryable


async def test_the_first_token_is_waited_for_longer_than_the_next(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    provider.script([{"silence": 1.4}, {"text": "late, but in time"}])

    assert (await ask(openai)).text == "late, but in time"


async def test_a_slow_reader_is_not_taken_for_a_stalled_model(provider: ProviderProcess) -> None:
    impatient = Deadlines(first_token=1, stall=0.1, total=5)
    model = OpenAIModel(provider.base_url, model="scripted", deadlines=impatient)
    provider.script([{"text": "a"}, {"pause": 1.3}, {"text": "b"}])
    stream = model.stream(REQUEST)
    first = await anext(stream)

    await provider.requests_async(1, ended=True)  # long past both deadlines, but nothing was waited for
    rest = [delta async for delta in stream]
    await model.aclose()

    assert [first, rest[0]] == [TextDelta(text="a"), TextDelta(text="b")]


async def test_a_call_keeps_to_the_time_its_request_has_left(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"words": 100, "rate": 20}])
    reply = Reply()

    with pytest.raises(TimedOut):
        await ask(openai, msgspec.structs.replace(REQUEST, time_limit=0.3), into=reply)

    assert reply.text.startswith("w0001 ")


async def test_neither_error_nor_log_tells_key_address_or_what_the_provider_said(
    provider: ProviderProcess, openai: OpenAIModel, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-canary-0123456789"
    words = f"Key {key} (also Bearer {key}) is wrong, see http://ada:pass-canary@host/x?key=query-canary"
    told = []
    caplog.set_level(logging.DEBUG)

    provider.script(queue=[refusal(401, None, words), [{"error_event": {"message": words}}], [{"reset": True}]])
    for _ in range(3):
        with pytest.raises(ModelError) as raised:
            await ask(openai)
        told.append("".join(traceback.format_exception(raised.value)) + raised.value.message)
        assert raised.value.__context__ is None

    assert not [text for text in told if "canary" in text or "is wrong" in text or str(provider.port) in text]
    assert "is wrong" in caplog.text
    assert "canary" not in caplog.text
    assert "canary" not in repr(openai)
