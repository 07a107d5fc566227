"""Answers as OpenAI's own client reads them, whole and as they are written."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest
from django.test import override_settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from history.models import Event, Turn
from llm.errors import Unavailable
from llm.scripted import says
from llm.types import Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from streaming.follow import follow
from streaming.frames import Heartbeat
from tests.asgi import ask, asking
from tests.gateway.conftest import ADDRESS, SAY_HI, text
from tests.streaming.conftest import Stage

USAGE = Usage(prompt=12, completion=5, cached=4, reasoning=2)
SUM = ToolCallDelta(index=0, id="c", name="calculator", arguments='{"expression": "1"}')


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": SAY_HI, **fields}


def events(told: bytes) -> list[str]:
    """The data of every event of a stream."""
    return [line.removeprefix("data: ") for line in told.decode().split("\n") if line.startswith("data: ")]


async def test_a_whole_answer_is_what_the_model_said_with_this_requests_usage(door: Any) -> None:
    """A3.2, A3.7."""
    at = await door([(*says("Good ", "day."), USAGE), (*says("Again."), Usage(prompt=3, completion=1))])

    first, second = await at.ask(), await at.ask()

    assert (first.object, first.model, first.id[:9]) == ("chat.completion", "demo", "chatcmpl-")
    assert (first.choices[0].message.content, first.choices[0].message.role) == ("Good day.", "assistant")
    assert (first.choices[0].finish_reason, len(first.choices)) == ("stop", 1)
    assert first.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 12,
        "completion_tokens": 5,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert second.usage.total_tokens == 4
    turn = await Turn.objects.aget(pk=first.id.removeprefix("chatcmpl-"))
    assert abs(first.created - turn.created_at.timestamp()) < 60


async def test_a_stream_is_the_same_answer_piece_by_piece(door: Any) -> None:
    at = await door([(*says("Good ", "day \U0001f9ff."), USAGE)])

    chunks = await at.stream()

    assert text(chunks) == "Good day \U0001f9ff."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_comes_last_and_only_if_it_is_asked_for(door: Any) -> None:
    at = await door([(*says("Hi."), USAGE)] * 2)

    with_usage = await ask(
        "POST", ADDRESS, headers=at.headers, body=body(stream=True, stream_options={"include_usage": True})
    )
    without = await ask("POST", ADDRESS, headers=at.headers, body=body(stream=True, stream_options={}))

    *chunks, last, done = events(with_usage.body)
    assert [json.loads(chunk)["usage"] for chunk in chunks] == [None] * len(chunks)
    assert (json.loads(last)["choices"], json.loads(last)["usage"]["total_tokens"]) == ([], 17)
    assert done == "[DONE]"
    assert not [chunk for chunk in events(without.body)[:-1] if "usage" in json.loads(chunk)]


async def test_every_chunk_and_every_answer_is_one_by_the_clients_own_models(door: Any) -> None:
    at = await door([(ReasoningDelta(text="Hm."), *says("Hi."), USAGE)] * 2)

    streamed = await ask(
        "POST", ADDRESS, headers=at.headers, body=body(stream=True, stream_options={"include_usage": True})
    )
    whole = await ask("POST", ADDRESS, headers=at.headers, body=body())

    for chunk in events(streamed.body)[:-1]:
        ChatCompletionChunk.model_validate_json(chunk, strict=True)
    ChatCompletion.model_validate_json(whole.body, strict=True)
    assert streamed.headers["content-type"] == "text/event-stream"
    assert streamed.headers["x-accel-buffering"] == "no"
    assert whole.headers["content-type"] == "application/json"


async def test_what_the_model_thinks_has_a_channel_of_its_own(door: Any) -> None:
    reply = (ReasoningDelta(text="One "), TextDelta(text="A"), ReasoningDelta(text="two"), *says("B"))
    at = await door([reply, reply])

    whole, chunks = await at.ask(), await at.stream()

    thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks]
    assert whole.choices[0].message.reasoning_content == "One two"
    assert "".join(filter(None, thoughts)) == "One two"
    assert whole.choices[0].message.content == text(chunks) == "AB"


async def test_the_sites_own_tools_run_here_and_only_show_in_the_log(door: Any) -> None:
    reply = [(TextDelta(text="Let me see. "), SUM, Finish(reason="tool_calls"), USAGE), (*says("One."), USAGE)]
    at = await door(reply * 2)

    whole, chunks = await at.ask(), await at.stream(stream_options={"include_usage": True})

    assert whole.choices[0].message.content == text(chunks) == "Let me see. One."
    assert whole.choices[0].message.tool_calls is None
    assert not [chunk for chunk in chunks for choice in chunk.choices if choice.delta.tool_calls]
    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens == 34
    assert await Event.objects.filter(kind="tool_result").acount() == 2


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_an_answer_says_why_it_ended(door: Any, reason: str) -> None:
    at = await door([says("Hi.", reason=reason)] * 2)

    whole, chunks = await at.ask(), await at.stream()

    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == reason


async def test_a_word_for_the_end_that_clients_do_not_know_is_told_as_stop(door: Any) -> None:
    at = await door([says("Hi.", reason="eos_token")])

    assert (await at.ask()).choices[0].finish_reason == "stop"


async def test_an_empty_answer_is_one(door: Any) -> None:
    at = await door([(Finish(reason="length"),)] * 2)

    whole, chunks = await at.ask(), await at.stream()

    assert (whole.choices[0].message.content, text(chunks)) == ("", "")
    assert chunks[0].choices[0].delta.role == "assistant"


async def test_the_first_word_comes_when_the_model_says_it_and_nothing_before(door: Any) -> None:
    more = asyncio.Event()
    at = await door([(more, TextDelta(text="One "), asyncio.Event())])

    async with asking("POST", ADDRESS, headers=at.headers, body=body(stream=True)) as exchange:
        silent = asyncio.create_task(exchange.answered())
        await at.on.watch(until=lambda folded: folded.caught_up)
        assert not silent.done()
        more.set()
        await silent
        while b"One " not in exchange.body:
            await exchange.read()

    assert exchange.status == 200
    assert exchange.body.startswith(b'data: {"id":"chatcmpl-')


async def test_silence_is_filled_with_comments_that_clients_skip(door: Any) -> None:
    more = asyncio.Event()
    at = await door([(more, TextDelta(text="One "), more, *says("two."))])

    with override_settings(CHAT={"HEARTBEAT": 0.2, "GATEWAY_PATIENCE": 0.0}):
        async with asking("POST", ADDRESS, headers=at.headers, body=body(stream=True)) as exchange:
            while exchange.body.count(b": heartbeat\n\n") < 3:
                await exchange.read()
            more.set()
            await exchange.whole()

    assert exchange.status == 200
    assert exchange.body.startswith(b": waiting for the model\n\n: heartbeat\n\n")
    spoken = [json.loads(event) for event in events(exchange.body)[:-1]]
    assert text([ChatCompletionChunk.model_validate(chunk) for chunk in spoken]) == "One two."


async def test_a_heartbeat_does_not_make_a_status_out_of_silence(door: Any) -> None:
    more = asyncio.Event()
    at = await door([(more, Unavailable())])

    with override_settings(CHAT={"HEARTBEAT": 0.01, "GATEWAY_PATIENCE": 60.0}):
        async with asking("POST", ADDRESS, headers=at.headers, body=body(stream=True)) as exchange:
            await at.asked()
            await beats(at.on, 4)
            more.set()
            await exchange.whole()

    assert exchange.status == 503


async def beats(on: Stage, count: int) -> None:
    """Until somebody else has heard so many."""
    async with asyncio.timeout(20), aclosing(follow(on.conversation_id, hub=on.engine.hub)) as frames:
        async for frame in frames:
            count -= isinstance(frame, Heartbeat)
            if not count:
                return
