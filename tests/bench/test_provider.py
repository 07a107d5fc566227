"""The scripted provider itself: what it refuses, how it chooses, what it notes."""

from __future__ import annotations

from typing import Any

import pytest

from bench.provider import strict
from bench.provider.play import BadScript, verb_of
from llm.openai import OpenAIModel
from llm.reply import Reply
from llm.types import AssistantMessage, ChatRequest, ToolCall, ToolMessage, UserMessage
from tests.provider import ProviderProcess

SYSTEM = {"role": "system", "content": "s"}
USER = {"role": "user", "content": "u"}
SAID = {"role": "assistant", "content": "a"}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "r"}


def calling(*ids: str) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def body(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "messages": list(messages), **more}


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [SYSTEM, USER, SAID, {"role": "user", "content": "again"}],
        [USER, calling("c"), RESULT],
        [USER, calling("c", "d"), {**RESULT, "tool_call_id": "d"}, RESULT, SAID, USER],
    ],
)
def test_a_sound_history_is_taken(messages: list[Any]) -> None:
    strict.check(body(*messages))

    assert messages


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "robot", "content": "x"}],
        [USER, SYSTEM],
        [USER, USER],
        [{"role": "user", "content": ""}],
        [{"role": "user", "content": "a\0b"}],
        [{"role": "user", "content": "\ud83d"}],
        [USER, {"role": "assistant", "content": ""}, USER],
        [USER, {"role": "assistant", "content": None, "tool_calls": []}, USER],
        [USER, SAID],
        [USER, RESULT],
        [USER, SAID, RESULT],
        [USER, calling("c")],
        [USER, calling("c"), USER],
        [USER, calling("c", "d"), RESULT, USER],
        [USER, calling("c"), RESULT, RESULT],
        [USER, calling("c", "c"), RESULT, RESULT],
        [USER, calling(""), RESULT],
    ],
)
def test_a_history_that_does_not_hold_together_is_refused(messages: list[Any]) -> None:
    with pytest.raises(strict.Refused):
        strict.check(body(*messages))


@pytest.mark.parametrize("more", [{"stream": False}, {"model": ""}, {"tools": []}, {"tool_choice": "auto"}])
def test_a_request_that_is_not_valid_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(strict.Refused):
        strict.check({**body(USER), **more})


@pytest.mark.parametrize("step", [{}, {"txt": "a"}, {"text": "a", "finish": "stop"}, "text", {"rate": 5}])
def test_a_step_that_nobody_knows_is_refused(step: Any) -> None:
    with pytest.raises(BadScript):
        verb_of(step)


def test_a_bad_script_is_refused_when_it_is_given(provider: ProviderProcess) -> None:
    with pytest.raises(ValueError, match="one verb"):
        provider.script(named={"x": [[{"txt": "a"}]]})


async def say(provider: ProviderProcess, *messages: Any) -> str:
    model, reply = OpenAIModel(provider.base_url, model="m"), Reply()
    async for delta in model.stream(ChatRequest(messages=messages)):
        reply.add(delta)
    await model.aclose()
    return reply.text


async def test_a_script_is_chosen_by_marker_then_queue_then_default(provider: ProviderProcess) -> None:
    provider.script([{"text": "default"}], named={"x": [{"text": "named"}]}, queue=[[{"text": "queued"}]])

    texts = [await say(provider, UserMessage(text=text)) for text in ("a", "[[x]] please", "b", "[[unknown]]")]

    assert texts == ["queued", "named", "default", "default"]
    assert [entry["script"] for entry in provider.log()] == ["queue", "x", "default", "default"]


async def test_a_script_of_hops_goes_on_with_the_turn(provider: ProviderProcess) -> None:
    provider.script(named={"x": [[{"text": "hop 0"}], [{"text": "hop 1"}]]})
    call = ToolCall(id="c", name="f", arguments="{}")
    question = UserMessage(text="[[x]]")

    first = await say(provider, question)
    second = await say(
        provider,
        question,
        AssistantMessage(text="", tool_calls=(call,)),
        ToolMessage(tool_call_id="c", name="f", content="r"),
    )

    assert (first, second) == ("hop 0", "hop 1")


async def test_stamped_words_tell_when_they_were_sent(provider: ProviderProcess) -> None:
    provider.script([{"words": 3, "rate": 1000, "stamped": True, "start": 9}])

    words = (await say(provider, UserMessage(text="go"))).split()
    entry = (await provider.requests_async(1, ended=True))[0]

    numbers, stamps = zip(*(word.split("@") for word in words), strict=True)
    assert numbers == ("w0009", "w0010", "w0011")
    assert [float(stamp) / 1e6 for stamp in stamps] == sorted(float(stamp) / 1e6 for stamp in stamps)
    assert entry["at"] <= float(stamps[0]) / 1e6 <= entry["ended_at"]
    assert entry["fragments"] == 3


async def test_the_log_never_holds_a_key(provider: ProviderProcess) -> None:
    model = OpenAIModel(provider.base_url, model="m", api_key="sk-canary-0123456789")
    async for _ in model.stream(ChatRequest(messages=(UserMessage(text="hi"),))):
        pass
    await model.aclose()

    log = provider.log()

    assert log[0]["authorized"]
    assert "canary" not in str(log)
