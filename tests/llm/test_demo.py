"""The demo model."""

from __future__ import annotations

import pytest

from llm.demo import DemoModel
from llm.demo_answers import answer
from llm.demo_sums import expression_in
from llm.reply import Reply
from llm.types import (
    AssistantMessage,
    ChatRequest,
    Finish,
    Message,
    Sampling,
    TextDelta,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from tests.llm.conftest import ask
from tools.arithmetic import evaluate

TOOLS = tuple(ToolSpec(name=name, description="", parameters={}) for name in ("current_time", "calculator"))


def asked(text: str, *, tools: tuple[ToolSpec, ...] = TOOLS) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(text=text),), tools=tools)


async def said(text: str, *, tools: tuple[ToolSpec, ...] = TOOLS) -> Reply:
    return await ask(DemoModel(pace=0), asked(text, tools=tools))


def after(text: str, *results: ToolMessage) -> str:
    calls = tuple(ToolCall(id=result.tool_call_id, name=result.name, arguments="{}") for result in results)
    messages: list[Message] = [UserMessage(text=text), AssistantMessage(text="", tool_calls=calls), *results]
    return answer(ChatRequest(messages=tuple(messages), tools=TOOLS)).text


async def test_it_speaks_in_small_fragments_and_ends_properly() -> None:
    deltas = [delta async for delta in DemoModel(pace=0).stream(asked("help"))]
    fragments = [delta.text for delta in deltas if isinstance(delta, TextDelta)]

    assert len(fragments) > 100
    assert max(map(len, fragments)) < 12
    assert "".join(fragments) == answer(asked("help")).text
    assert Finish(reason="stop") in deltas


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("Hi!", "demo model"),
        ("What can you do?", "word for word"),
        ("What happens if I reload the tab?", "cursor"),
        ("How do I stop you?", "kept"),
        ("Can I edit my message?", "branch"),
        ("Show me some code", "```python"),
        ("Show me a table", "|---|"),
        ("How do I use a real model?", "OPENAI_API_KEY"),
        ("Tell me something long", "six chapters"),
        ("Why is the sky blue?", "Why is the sky blue?"),
        ("", "demo model"),
    ],
)
async def test_it_knows_its_topics(question: str, word: str) -> None:
    assert word in (await said(question)).text


async def test_a_greeting_is_answered_shortly() -> None:
    assert len((await said("hello")).text) < 300


async def test_asked_for_the_time_it_calls_the_clock() -> None:
    reply = await said("What time is it in Tokyo?")

    call = ToolCall(id="call_0", name="current_time", arguments='{"time_zone": "Asia/Tokyo"}')
    assert reply.calls() == (call,)
    assert reply.finish_reason == "tool_calls"


async def test_two_questions_are_two_calls() -> None:
    reply = await said("What time is it, and what is 15% of 80?")

    assert [(call.name, call.arguments) for call in reply.calls()] == [
        ("current_time", '{"time_zone": "UTC"}'),
        ("calculator", '{"expression": "15/100* 80"}'),
    ]


@pytest.mark.parametrize("question", ["What time is it?", "What is 2 + 2?"])
async def test_without_tools_it_calls_none(question: str) -> None:
    reply = await said(question, tools=())

    assert reply.calls() == ()
    assert reply.text


async def test_it_calls_none_when_told_not_to() -> None:
    request = ChatRequest(messages=(UserMessage(text="What is 2 + 2?"),), tools=TOOLS, tool_choice="none")

    assert (await ask(DemoModel(pace=0), request)).calls() == ()


def test_in_its_second_hop_it_uses_what_the_tools_said() -> None:
    time = '{"time": "2026-02-03T04:05:06+09:00", "weekday": "Tuesday", "time_zone": "Asia/Tokyo"}'
    clock = ToolMessage(tool_call_id="a", name="current_time", content=time)
    sums = ToolMessage(tool_call_id="b", name="calculator", content="12")

    text = after("What time is it in Tokyo, and 15% of 80?", clock, sums)

    assert "**04:05** on Tuesday, 2026-02-03 (Asia/Tokyo)" in text
    assert "**12**" in text


def test_a_tool_that_failed_is_told() -> None:
    result = ToolMessage(tool_call_id="a", name="calculator", content="Division by zero.", is_error=True)

    assert "Division by zero." in after("What is 1/0?", result)


async def test_it_reasons_aloud_when_asked_to() -> None:
    assert (await said("Think about tea.")).reasoning
    assert not (await said("Tea?")).reasoning


async def test_it_keeps_to_a_bound_and_says_so() -> None:
    request = ChatRequest(messages=(UserMessage(text="help"),), sampling=Sampling(max_tokens=5))

    reply = await ask(DemoModel(pace=0), request)

    assert reply.finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion == 5


async def test_what_a_person_wrote_cannot_become_markup() -> None:
    text = (await said("<img src=x onerror=alert(1)> ![a](http://b/c) **x**")).text

    assert "<img" not in text
    assert "![" not in text


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("What is 2 + 2?", 4),
        ("what's (2+3)*14/7", 10),
        ("17 \N{MULTIPLICATION SIGN} 23", 391),
        ("12 divided by 4", 3),
        ("12 plus 4 minus 1.", 15),
        ("Please calculate 1,000 * 3", 3000),
        ("the sum of 3, 4 and 5", 12),
        ("15% of 80", 12),
        ("sqrt(16) + 1", 5),
        ("What is the square root of 81 plus 1?", 10),
        ("2^10", 1024),
        ("What is 7-2?", 5),
        ("3 x 4", 12),
    ],
)
def test_a_sum_is_found_in_a_sentence(sentence: str, value: float) -> None:
    expression = expression_in(sentence)

    assert expression is not None
    assert float(evaluate(expression)) == value


@pytest.mark.parametrize(
    "sentence",
    ["Hello", "I am 42", "Give me 3-5 ideas", "On 2026-02-03", "version 1.2.3", "a + b", "C++ or 5"],
)
def test_no_sum_is_found_where_there_is_none(sentence: str) -> None:
    assert expression_in(sentence) is None
