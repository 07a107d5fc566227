"""The caller's own tools, beside those of the site: a call of one ends the turn, and the next request answers it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from django.test import Client

from history.models import Event, Turn
from llm import types as llm
from llm.scripted import says
from llm.types import Finish, TextDelta, ToolCall, ToolCallDelta, ToolSpec, Usage
from streaming.orders import Order
from tests.gateway.conftest import ADDRESS, SAY_HI, text

LOOK_UP: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}
ARGUMENTS = '{"q": "Ansible"}'


def calls(name: str, *, index: int = 0, arguments: str = ARGUMENTS) -> ToolCallDelta:
    return ToolCallDelta(index=index, id=f"c{index}", name=name, arguments=arguments)


SUM = calls("calculator", index=1, arguments='{"expression": "1+1"}')
THEIRS = (TextDelta(text="Let me see."), calls("look_up"), Finish(reason="tool_calls"), Usage(prompt=3, completion=2))
BOTH = (calls("look_up"), SUM, Finish(reason="tool_calls"), Usage(prompt=3, completion=2))


def answered(message: Any, *contents: str) -> Any:
    """The conversation so far, as a client puts it together."""
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": content}
        for call, content in zip(message.tool_calls, contents, strict=True)
    ]
    return [*SAY_HI, message.model_dump(exclude_none=True), *results]


async def test_a_call_of_the_callers_tool_ends_the_turn_and_its_answer_begins_the_next(door: Any) -> None:
    at = await door([THEIRS, says("It is good.")])

    first = await at.ask(tools=[LOOK_UP])
    second = await at.ask(answered(first.choices[0].message, "Good."), tools=[LOOK_UP])

    [call] = first.choices[0].message.tool_calls
    assert (first.choices[0].finish_reason, first.choices[0].message.content) == ("tool_calls", "Let me see.")
    assert (call.function.name, call.function.arguments, call.type) == ("look_up", ARGUMENTS, "function")
    assert first.usage.total_tokens == 5
    assert second.choices[0].message.content == "It is good."
    assert at.on.model.requests[1].messages == (
        llm.UserMessage(text="Hi"),
        llm.AssistantMessage(
            text="Let me see.", tool_calls=(ToolCall(id=call.id, name="look_up", arguments=ARGUMENTS),)
        ),
        llm.ToolMessage(tool_call_id=call.id, name="look_up", content="Good."),
    )


async def test_a_stream_brings_the_call_whole_and_says_why_it_ended(door: Any) -> None:
    at = await door([THEIRS])

    chunks = await at.stream(tools=[LOOK_UP])

    told = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert text(chunks) == "Let me see."
    assert [(call.index, call.function.name, call.function.arguments) for call in told] == [(0, "look_up", ARGUMENTS)]
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_tools_of_both_are_offered_and_of_one_name_the_callers(door: Any) -> None:
    own_calculator = {"type": "function", "function": {"name": "calculator"}}
    at = await door([says("Hi.")])

    await at.ask(tools=[LOOK_UP, own_calculator])

    offered = {tool.name: tool for tool in at.on.model.requests[0].tools}
    assert offered.keys() == {"current_time", "calculator", "look_up"}
    assert offered["look_up"].parameters == LOOK_UP["function"]["parameters"]
    assert offered["calculator"].description == ""


@pytest.mark.parametrize("streams", [False, True])
async def test_of_calls_of_both_the_sites_is_run_here_and_the_callers_is_left_to_it(door: Any, streams: bool) -> None:
    at = await door([BOTH, says("Two, and good.")])

    if streams:
        chunks = await at.stream(tools=[LOOK_UP])
        told = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    else:
        told = (await at.ask(tools=[LOOK_UP])).choices[0].message.tool_calls
    turn = await Turn.objects.aget()
    results = [data async for data in Event.objects.filter(kind="tool_result").values_list("data", flat=True)]
    again = await at.ask(
        [{"role": "tool", "tool_call_id": told[0].id, "content": "Good."}],
        tools=[LOOK_UP],
        extra_headers={"X-Verbatim-Conversation-ID": str(turn.conversation_id)},
    )

    assert [call.function.name for call in told] == ["look_up"]
    assert (turn.status, turn.finish_reason) == ("completed", "tool_calls")
    assert [(data["name"], data["content"]) for data in results] == [("calculator", "2")]
    assert again.choices[0].message.content == "Two, and good."
    assert at.on.model.requests[1].messages[2:] == (
        llm.ToolMessage(tool_call_id="c0", name="look_up", content="Good."),
        llm.ToolMessage(tool_call_id="c1", name="calculator", content="2"),
    )


async def test_a_call_without_an_answer_is_told_as_interrupted(door: Any) -> None:
    at = await door([THEIRS, says("Never mind.")])
    first = await at.client.chat.completions.with_raw_response.create(model="demo", messages=SAY_HI, tools=[LOOK_UP])
    conversation = {"X-Verbatim-Conversation-ID": first.headers["X-Verbatim-Conversation-ID"]}

    await at.ask([{"role": "user", "content": "Forget it."}], extra_headers=conversation)

    *_, result, said = at.on.model.requests[1].messages
    assert (result.tool_call_id, result.is_error) == ("c0", True)
    assert said == llm.UserMessage(text="Forget it.")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", ("none", "")),
        ("required", ("required", "")),
        ({"type": "function", "function": {"name": "look_up"}}, ("required", "look_up")),
    ],
)
async def test_whether_a_tool_must_be_called_is_passed_on(door: Any, choice: Any, expected: Any) -> None:
    at = await door([says("Hi.")])

    await at.ask(tools=[LOOK_UP], tool_choice=choice, parallel_tool_calls=False)

    request = at.on.model.requests[0]
    assert (request.tool_choice, request.tool) == expected
    assert request.sampling.parallel_tool_calls is False


@pytest.mark.parametrize("strict", [True, False, None])
async def test_whether_arguments_must_be_as_the_schema_says_is_passed_on(door: Any, strict: bool | None) -> None:
    at = await door([says("Hi.")])

    await at.ask(tools=[{**LOOK_UP, "function": {**LOOK_UP["function"], "strict": strict}}])

    assert {tool.name: tool.strict for tool in at.on.model.requests[0].tools}["look_up"] is strict


def test_a_tool_that_does_not_say_how_strict_it_is_makes_the_request_that_it_always_made() -> None:
    """What is stored of a request must be what a later version makes of it, or it could not be sent again."""
    order = Order(text="Hi", model="demo", tools=(ToolSpec(name="look_up", description="", parameters={}),))

    assert order.fingerprint() == "96a916bad136f574dfc1ba2dbcc11ef48af6d93e8f323cbcde6cd900a0a36fd1"


async def test_that_a_tool_must_be_called_holds_once(door: Any) -> None:
    at = await door([(SUM, Finish(reason="tool_calls")), says("Two.")])

    await at.ask(tool_choice="required")

    assert [request.tool_choice for request in at.on.model.requests] == ["required", "auto"]


@pytest.mark.parametrize("more", [0, 1, 2])
async def test_an_answer_to_a_call_is_told_whatever_is_said_after_it(door: Any, more: int) -> None:
    at = await door([THEIRS, says("Well.")])
    first = await at.client.chat.completions.with_raw_response.create(model="demo", messages=SAY_HI, tools=[LOOK_UP])
    conversation = {"X-Verbatim-Conversation-ID": first.headers["X-Verbatim-Conversation-ID"]}

    answer = {"role": "tool", "tool_call_id": "c0", "content": "Good."}
    await at.ask([answer, *SAY_HI * more], extra_headers=conversation)

    _, _, result, *said = at.on.model.requests[1].messages
    assert (result.tool_call_id, result.content) == ("c0", "Good.")
    assert said == [llm.UserMessage(text="Hi")] * more


@pytest.mark.parametrize("more", [0, 1, 2])
async def test_an_answer_to_no_call_is_refused_whatever_is_said_after_it(door: Any, more: int) -> None:
    at = await door([says("Hi.")])
    first = await at.client.chat.completions.with_raw_response.create(model="demo", messages=SAY_HI)

    with pytest.raises(openai.BadRequestError) as refused:
        await at.ask(
            [{"role": "tool", "tool_call_id": "c9", "content": "Good."}, *SAY_HI * more],
            extra_headers={"X-Verbatim-Conversation-ID": first.headers["X-Verbatim-Conversation-ID"]},
        )

    assert "'c9'" in refused.value.message


async def test_two_answers_to_one_call_are_refused(door: Any) -> None:
    """Also where the call itself is not sent again."""
    at = await door([THEIRS])
    first = await at.client.chat.completions.with_raw_response.create(model="demo", messages=SAY_HI, tools=[LOOK_UP])
    answer = {"role": "tool", "tool_call_id": "c0", "content": "Good."}

    with pytest.raises(openai.BadRequestError) as refused:
        await at.ask(
            [answer, {**answer, "content": "Bad."}],
            extra_headers={"X-Verbatim-Conversation-ID": first.headers["X-Verbatim-Conversation-ID"]},
        )

    assert (refused.value.param, refused.value.code) == ("messages[1].tool_call_id", "invalid_value")
    assert len(at.on.model.requests) == 1


IMPROPER: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "custom"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {"name": "look up"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
     "tools[0].function.parameters"),
    ({"tools": [LOOK_UP, LOOK_UP]}, "tools[1].function.name"),
    ({"tools": [LOOK_UP] * 129}, "tools"),
    ({"tool_choice": "always"}, "tool_choice"),
    ({"tools": [LOOK_UP], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice.function.name"),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), IMPROPER)
def test_tools_that_are_none_are_refused_where_they_are(ada: Client, fields: Any, param: str) -> None:
    response = ada.post(ADDRESS, {"model": "demo", "messages": SAY_HI, **fields}, "application/json")

    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
