"""The direct adapter at the scripted provider: what good answers are read as, in every shape they come in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llm.deadlines import Deadlines
from llm.openai import OpenAIModel
from llm.openai_answer import Answer
from llm.types import (
    AssistantMessage,
    ChatRequest,
    Finish,
    ReasoningDelta,
    Sampling,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from tests.llm.conftest import REQUEST, ask
from tests.provider import ProviderProcess

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


async def test_text_comes_fragment_by_fragment_then_finish_then_usage(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    provider.script([{"text": "Hel"}, {"text": ""}, {"text": "lo 🌍"}, {"finish": "stop"}, {"usage": USAGE}])

    deltas = [delta async for delta in openai.stream(REQUEST)]

    assert deltas == [
        TextDelta(text="Hel"),
        TextDelta(text="lo 🌍"),
        Finish(reason="stop"),
        Usage(prompt=12, completion=7, cached=5, reasoning=3),
    ]


async def test_the_first_fragment_is_there_before_the_second_is_sent(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    provider.script([{"text": "one"}, {"gate": "more"}, {"text": "two"}])
    stream = openai.stream(REQUEST)

    assert await anext(stream) == TextDelta(text="one")
    provider.open_gate("more")
    assert await anext(stream) == TextDelta(text="two")
    await stream.aclose()


@pytest.mark.parametrize(
    "steps",
    [
        [{"text": "a"}, {"finish": "stop"}, {"usage": USAGE, "where": "empty_choices"}],
        [{"text": "a"}, {"finish": "stop", "usage": USAGE}],
        [{"text": "a"}, {"finish": "stop"}, {"usage": USAGE, "where": "with_delta"}],
        [{"text": "a"}, {"usage": USAGE, "where": "with_delta"}, {"finish": "stop"}],
        [{"text": "a"}, {"usage": USAGE, "where": "empty_choices"}, {"finish": "stop"}],
        [{"text": "a"}, {"usage": USAGE, "where": "in_choice"}, {"finish": "stop"}],
        [{"usage": {"prompt_tokens": 1}}, {"text": "a"}, {"finish": "stop"}, {"usage": USAGE}],
        [{"text": "a"}, {"finish": "stop"}, {"usage": USAGE}, {"close": True}],
    ],
)
async def test_usage_is_read_wherever_it_stands(
    provider: ProviderProcess, openai: OpenAIModel, steps: list[dict[str, Any]]
) -> None:
    """A2.24: not even the chunk without choices is skipped; the last word counts, once."""
    provider.script(steps)

    deltas = [delta async for delta in openai.stream(REQUEST)]

    usages = [delta for delta in deltas if isinstance(delta, Usage)]
    assert usages == [Usage(prompt=12, completion=7, cached=5, reasoning=3)]
    assert TextDelta(text="a") in deltas


async def test_a_strange_usage_costs_no_answer(provider: ProviderProcess, openai: OpenAIModel) -> None:
    usage = {"prompt_tokens": "many", "completion_tokens": -1, "prompt_tokens_details": [], "other": None}
    provider.script([{"text": "a"}, {"finish": "stop"}, {"usage": None}, {"chunk": {"usage": usage}}])

    reply = await ask(openai)

    assert (reply.text, reply.usage) == ("a", Usage())


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_apart_from_text(provider: ProviderProcess, openai: OpenAIModel, field: str) -> None:
    provider.script([{"reasoning": "Let me see", "field": field}, {"text": "42"}])

    deltas = [delta async for delta in openai.stream(REQUEST)]

    assert deltas[:2] == [ReasoningDelta(text="Let me see"), TextDelta(text="42")]


@pytest.mark.parametrize(
    "calls",
    [
        [
            {"index": 0, "id": "a", "name": "f", "arguments": ""},
            {"index": 0, "arguments": '{"x"'},
            {"index": 0, "arguments": ": 1}"},
        ],
        [{"id": "a", "name": "f", "arguments": '{"x": 1}'}],
        [{"index": 0, "id": "a", "name": "f", "arguments": {"x": 1}}],
        [{"id": "a", "name": "f"}, {"arguments": '{"x"'}, {"arguments": ": 1}"}],
        [
            {"index": 0, "id": "a", "name": "f", "arguments": '{"x"'},
            {"index": 0, "id": "a", "name": "f", "arguments": ": 1}"},
        ],
    ],
)
async def test_a_tool_call_is_read_in_every_shape(
    provider: ProviderProcess, openai: OpenAIModel, calls: list[dict[str, Any]]
) -> None:
    """A2.8."""
    provider.script([{"tool": call} for call in calls])

    reply = await ask(openai)

    assert reply.calls() == (ToolCall(id="a", name="f", arguments='{"x": 1}'),)
    assert reply.finish_reason == "tool_calls"


async def test_a_whole_message_counts_where_no_deltas_came(provider: ProviderProcess, openai: OpenAIModel) -> None:
    """A2.15: content that comes only at the end is used."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": "All at once.", "reasoning_content": "Hm.", "tool_calls": [call]}
    provider.script([{"message": message}, {"message": message}])

    reply = await ask(openai)

    assert (reply.text, reply.reasoning) == ("All at once.", "Hm.")
    assert reply.calls() == (ToolCall(id="a", name="f", arguments="{}"),)


async def test_a_whole_message_after_its_deltas_is_not_said_twice(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    """A2.15: never twice."""
    provider.script([{"text": "All "}, {"text": "at once."}, {"message": {"content": "All at once."}}])

    assert (await ask(openai)).text == "All at once."


async def test_a_refusal_is_text(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"refusal": "I would rather not."}])

    assert (await ask(openai)).text == "I would rather not."


async def test_characters_survive_any_split(provider: ProviderProcess, openai: OpenAIModel) -> None:
    text = "Grüße, שלום, 👩‍👩‍👧 𝄞"
    provider.script(
        [{"halves": text}, {"split_bytes": True}, {"text": text}, {"comment": "still here"}, {"text": text}]
    )

    assert (await ask(openai)).text == text * 3


@pytest.mark.parametrize(
    ("escaped", "text"),
    [(r"a\ud83d", "a\ufffd"), (r"\ude00b", "\ufffdb"), (r"\u0000", "\ufffd"), (r"\ud83d\ud83d\ude00", "\ufffd😀")],
)
async def test_what_cannot_be_stored_is_replaced(
    provider: ProviderProcess, openai: OpenAIModel, escaped: str, text: str
) -> None:
    for field in ("content", "reasoning_content"):
        provider.script([{"raw": f'data: {{"choices":[{{"delta":{{"{field}":"{escaped}"}}}}]}}\n\n'}])

        reply = await ask(openai)

        assert reply.text + reply.reasoning == text


def test_bytes_that_are_not_utf8_cost_one_character_not_the_answer() -> None:
    deltas = Answer().read(b'{"choices":[{"delta":{"content":"a\xffb"}}]}')

    assert deltas == [TextDelta(text="a\ufffdb")]


async def test_odd_chunks_say_nothing_and_break_nothing(provider: ProviderProcess, openai: OpenAIModel) -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"choices": []},
        {"choices": [{"index": 0, "delta": None, "finish_reason": None, "logprobs": {}}]},
        {
            "choices": [{"delta": {"role": "assistant", "content": None, "tool_calls": None}}],
            "usage": None,
            "error": None,
        },
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": None}]}}], "x": [1, {"y": 2}]},
    ]
    provider.script([*({"chunk": chunk} for chunk in odd), {"text": "fine"}])

    reply = await ask(openai)

    assert (reply.text, reply.calls()) == ("fine", ())


async def test_a_megabyte_in_one_line_and_in_many(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"text": "x" * 1_000_000}, {"words": 500, "rate": 100_000}])

    text = (await ask(openai)).text

    assert text.startswith("x" * 1_000_000 + "w0001 w0002 ")
    assert text.endswith("w0500 ")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_cut_by_the_provider_may_be_empty(
    provider: ProviderProcess, openai: OpenAIModel, reason: str
) -> None:
    provider.script([{"finish": reason}])

    assert (await ask(openai)).finish_reason == reason


async def test_the_request_is_put_in_the_providers_words(provider: ProviderProcess, openai: OpenAIModel) -> None:
    call = ToolCall(id="c1", name="add", arguments='{"a": 1}')
    spec = ToolSpec(name="add", description="Adds.", parameters={"type": "object", "properties": {}})
    request = ChatRequest(
        messages=(
            SystemMessage(text="Be brief."),
            UserMessage(text="1+1?"),
            AssistantMessage(text="", tool_calls=(call,)),
            ToolMessage(tool_call_id="c1", name="add", content="2"),
        ),
        tools=(spec,),
        sampling=Sampling(temperature=0.0, max_tokens=9, stop=("END",)),
        call_id="t:1:0:1",
    )

    await ask(openai, request)

    asked = provider.log()[0]
    told_call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    assert asked["body"] == {
        "model": "scripted",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [told_call],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "2"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_tokens": 9,
        "stop": ["END"],
        "tools": [
            {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": spec.parameters}}
        ],
        "tool_choice": "auto",
    }
    assert asked["headers"]["X-Client-Request-Id"] == "t:1:0:1"
    assert asked["headers"]["Accept-Encoding"] == "identity"
    assert asked["authorized"]


async def test_a_query_in_the_base_url_is_kept_and_a_user_in_it_is_authentication(provider: ProviderProcess) -> None:
    base = provider.base_url.replace("http://", "http://ada:secret@") + "/?api-version=1"
    model = OpenAIModel(base, model="scripted")

    await ask(model)
    await model.aclose()

    asked = provider.log()[0]
    assert asked["path"] == "/v1/chat/completions?api-version=1"
    assert asked["authorized"]


async def test_a_clean_end_leaves_the_connection_for_the_next_call(
    provider: ProviderProcess, openai: OpenAIModel
) -> None:
    for _ in range(3):
        await ask(openai)

    log = await provider.requests_async(3, ended=True)
    assert [entry["ended"] for entry in log] == ["completed"] * 3
    assert len({entry["connection"] for entry in log}) == 1


@pytest.mark.parametrize("end", [{"raw": "data: [DONE]\n\n"}, {"comment": "no usage to come"}])
async def test_a_provider_that_has_said_all_is_not_waited_for(provider: ProviderProcess, end: dict[str, Any]) -> None:
    patient = Deadlines(stall=300, ending=300 if "raw" in end else 0.1)
    model = OpenAIModel(provider.base_url, model="scripted", deadlines=patient)
    provider.script([{"text": "a"}, {"finish": "stop"}, end, {"gate": "never"}])

    async with asyncio.timeout(20):
        reply = await ask(model)
    await model.aclose()

    assert (reply.text, reply.finish_reason) == ("a", "stop")
    assert (await provider.requests_async(1, ended=True))[0]["ended"] == "closed by client"


async def test_nothing_counts_after_done(provider: ProviderProcess, openai: OpenAIModel) -> None:
    provider.script([{"text": "a"}, {"finish": "stop"}, {"raw": "data: [DONE]\n\n"}, {"text": "b"}])

    assert (await ask(openai)).text == "a"


async def test_one_model_serves_several_loops(provider: ProviderProcess) -> None:
    model = OpenAIModel(provider.base_url, model="scripted", deadlines=Deadlines(total=5))

    async def once() -> str:
        text = (await ask(model)).text
        await model.aclose()
        return text

    texts = [await asyncio.to_thread(asyncio.run, once()) for _ in range(2)]

    assert texts == ["Hello from the script."] * 2
