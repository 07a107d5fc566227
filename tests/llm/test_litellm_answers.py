"""Through litellm, every wire format gives the deltas that OpenAI's gives directly."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from llm.reply import Reply
from llm.through_litellm import LiteLLMModel
from llm.types import (
    AssistantMessage,
    ChatRequest,
    Sampling,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from tests.independent import IndependentProvider
from tests.llm.conftest import REQUEST, ask, litellm_warns
from tests.llm.wire import Wire, anthropic, block, candidate, delta, gemini, serving, started, stopped
from tests.provider import ProviderProcess

pytestmark = litellm_warns

WIRES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "openai": "/v1"}
TEXT = "Grüße 😀 an alle, שלום עולם,  with   spaces  and\n\na paragraph. " * 5
CLOCK = ToolSpec(
    name="current_time",
    description="The current time in a time zone.",
    parameters={
        "type": "object",
        "properties": {"time_zone": {"type": "string", "default": "UTC"}},
        "required": ["time_zone"],
        "additionalProperties": False,
    },
)
ASKED = ToolCall(id="call_1", name="current_time", arguments='{"time_zone": "UTC"}')
AFTER_A_TOOL = ChatRequest(
    messages=(
        SystemMessage(text="Be brief."),
        UserMessage(text="What time is it?"),
        AssistantMessage(text="", tool_calls=(ASKED,)),
        ToolMessage(tool_call_id="call_1", name="current_time", content="noon"),
    ),
    tools=(CLOCK,),
)


@pytest.fixture(scope="module")
def llmock_process() -> Iterator[IndependentProvider]:
    with IndependentProvider(pace=1) as process:
        yield process


@pytest.fixture
def llmock(llmock_process: IndependentProvider) -> IndependentProvider:
    llmock_process.reset()
    return llmock_process


@pytest_asyncio.fixture(params=WIRES)
async def model(llmock: IndependentProvider, request: pytest.FixtureRequest) -> AsyncIterator[LiteLLMModel]:
    """One per wire format."""
    model = LiteLLMModel(f"{request.param}/m", base_url=llmock.root + WIRES[request.param], api_key="k")
    yield model
    await model.aclose()


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    async with serving() as wire:
        yield wire
    await LiteLLMModel("any/model").aclose()


async def test_text_and_usage_arrive(llmock: IndependentProvider, model: LiteLLMModel) -> None:
    llmock.reply(TEXT)

    reply = await ask(model)

    assert (reply.text, reply.finish_reason) == (TEXT, "stop")
    assert reply.usage == Usage(prompt=len("Hello?") // 4, completion=len(TEXT) // 4)  # as llmock counts
    assert llmock.findings() == set()


async def test_two_tool_calls_arrive(llmock: IndependentProvider, model: LiteLLMModel) -> None:
    wanted = [{"name": "current_time", "arguments": {"time_zone": zone}} for zone in ("UTC", "Europe/Berlin")]
    llmock.plan({"type": "reply", "tool_calls": wanted})

    reply = await ask(model, msgspec.structs.replace(REQUEST, tools=(CLOCK,)))

    calls = [(call.name, msgspec.json.decode(call.arguments)) for call in reply.calls()]
    assert calls == [(call["name"], call["arguments"]) for call in wanted]
    assert reply.finish_reason == "tool_calls"
    assert len({call.id for call in reply.calls()}) == 2
    assert reply.usage is not None
    assert reply.usage.completion > 0


@pytest.mark.parametrize("tools", [(CLOCK,), ()])
async def test_a_tools_answer_goes_back_also_when_no_further_tool_is_offered(
    llmock: IndependentProvider, model: LiteLLMModel, tools: tuple[ToolSpec, ...]
) -> None:
    llmock.reply("It is noon.")

    reply = await ask(model, msgspec.structs.replace(AFTER_A_TOOL, tools=tools))

    [request] = llmock.requests()
    assert reply.text == "It is noon."
    assert request["status"] == 200
    assert "noon" in str(request["body"])
    assert "Be brief." in str(request["body"])


async def test_what_is_asked_is_not_changed(llmock: IndependentProvider, model: LiteLLMModel) -> None:
    before = copy.deepcopy(AFTER_A_TOOL)

    await ask(model, AFTER_A_TOOL)

    assert before == AFTER_A_TOOL


async def test_sampling_is_passed_on_and_what_a_provider_has_no_word_for_is_left_out(
    llmock: IndependentProvider, model: LiteLLMModel
) -> None:
    sampling = Sampling(temperature=0.25, max_tokens=77, seed=5, stop=("END",))

    await ask(model, msgspec.structs.replace(REQUEST, sampling=sampling))

    body = llmock.requests()[0]["body"]
    said = str(body)
    assert "0.25" in said
    assert "77" in said
    assert "END" in said
    assert ("seed" in said) == ("anthropic" not in llmock.requests()[0]["path"])


async def test_claude_thinks_aloud_speaks_and_calls_and_says_what_was_cached(wire: Wire) -> None:
    wire.body = anthropic(
        started(input_tokens=10, cache_read_input_tokens=90),
        block(0, type="thinking", thinking=""),
        delta(0, type="thinking_delta", thinking="Well, "),
        delta(0, type="thinking_delta", thinking="now."),
        delta(0, type="signature_delta", signature="abc"),
        {"type": "content_block_stop", "index": 0},
        block(1, type="text", text=""),
        {"type": "ping"},
        delta(1, type="text_delta", text="Let me see."),
        {"type": "content_block_stop", "index": 1},
        block(2, type="tool_use", id="toolu_1", name="current_time", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"time_'),
        delta(2, type="input_json_delta", partial_json='zone": "UTC"}'),
        {"type": "content_block_stop", "index": 2},
        *stopped("tool_use", output_tokens=42),
    )

    reply = await ask(LiteLLMModel("anthropic/m", base_url=wire.url, api_key="k"))

    assert (reply.reasoning, reply.text, reply.finish_reason) == ("Well, now.", "Let me see.", "tool_calls")
    assert reply.runs == (("reasoning", 10), ("text", 11))
    assert reply.calls() == (ToolCall(id="toolu_1", name="current_time", arguments='{"time_zone": "UTC"}'),)
    assert reply.usage is not None
    assert (reply.usage.prompt, reply.usage.cached, reply.usage.completion) == (100, 90, 42)


async def test_gemini_thinks_aloud_and_says_how_much(wire: Wire) -> None:
    counted = {"promptTokenCount": 8, "candidatesTokenCount": 3, "thoughtsTokenCount": 6, "totalTokenCount": 17}
    thought: dict[str, Any] = candidate("Hm.")
    thought["candidates"][0]["content"]["parts"][0]["thought"] = True
    wire.body = gemini(thought, candidate("Yes"), {**candidate(".", finishReason="STOP"), "usageMetadata": counted})

    reply = await ask(LiteLLMModel("gemini/m", base_url=wire.url, api_key="k"))

    assert (reply.reasoning, reply.text, reply.finish_reason) == ("Hm.", "Yes.", "stop")
    assert reply.usage == Usage(prompt=8, completion=9, reasoning=6)


async def test_characters_in_two_halves_are_joined_and_halves_replaced(wire: Wire) -> None:
    halves = [delta(0, type="text_delta", text=text) for text in ("a\ud83d", "\ude00b", "\ud83d", "c\0", "\udc00")]
    wire.body = anthropic(started(), block(0, type="text", text=""), *halves, *stopped("end_turn"))

    reply = await ask(LiteLLMModel("anthropic/m", base_url=wire.url, api_key="k"))

    assert reply.text == "a😀b\ufffdc\ufffd\ufffd"


async def test_usage_that_nobody_told_is_not_made_up(provider: ProviderProcess, wire: Wire) -> None:
    provider.script([{"text": "hello"}, {"usage": None}])

    reply = await ask(LiteLLMModel("openai/m", base_url=provider.base_url, api_key="k"))

    assert (reply.text, reply.usage) == ("hello", None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_in_openais_format_arrives_under_either_name(
    provider: ProviderProcess, wire: Wire, field: str
) -> None:
    provider.script([{"reasoning": "Hm. ", "field": field}, {"text": "Yes."}])

    reply = await ask(LiteLLMModel("openai/m", base_url=provider.base_url, api_key="k"))

    assert (reply.reasoning, reply.text) == ("Hm. ", "Yes.")


async def test_a_long_answer_of_one_word_is_no_fault(provider: ProviderProcess, wire: Wire) -> None:
    provider.script([{"text": "again "}] * 300)
    reply = Reply()

    await ask(LiteLLMModel("openai/m", base_url=provider.base_url, api_key="k"), into=reply)

    assert reply.text == "again " * 300
