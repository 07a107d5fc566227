"""A request in OpenAI's words: parts, sampling, and which tool is to be called."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llm.openai_request import body
from llm.types import ChatRequest, ImagePart, Sampling, TextPart, ToolSpec, UserMessage

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
TOOL = ToolSpec(name="look_up", description="", parameters={"type": "object"})
HI = UserMessage(text="Hi")


def told(request: ChatRequest) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(body(request, model="m"))
    return decoded


def test_a_message_that_is_only_text_is_told_as_text() -> None:
    assert told(ChatRequest(messages=(HI,)))["messages"] == [{"role": "user", "content": "Hi"}]


def test_parts_are_told_in_their_order() -> None:
    parts = (TextPart(text="What is "), ImagePart(url=PIXEL, detail="low"), ImagePart(url="https://a.example/"))

    [message] = told(ChatRequest(messages=(UserMessage(text="What is ", parts=parts),)))["messages"]

    assert message["content"] == [
        {"type": "text", "text": "What is "},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://a.example/"}},
    ]


CHOSEN: list[tuple[str, Any]] = [
    ("presence_penalty", 1.5),
    ("frequency_penalty", -1.5),
    ("logit_bias", {"1": -100.0}),
    ("reasoning_effort", "low"),
    ("response_format", {"type": "json_object"}),
]


@pytest.mark.parametrize(("name", "value"), CHOSEN)
def test_sampling_is_told_if_it_is_chosen(name: str, value: Any) -> None:
    chosen = told(ChatRequest(messages=(HI,), sampling=Sampling(**{name: value})))

    assert chosen[name] == value
    assert name not in told(ChatRequest(messages=(HI,)))


def test_which_tool_is_to_be_called_is_told_only_beside_tools() -> None:
    must = ChatRequest(
        messages=(HI,), tools=(TOOL,), tool_choice="required", tool="look_up",
        sampling=Sampling(parallel_tool_calls=False),
    )  # fmt: skip

    forced, alone = told(must), told(msgspec.structs.replace(must, tools=()))

    assert forced["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}
    assert forced["parallel_tool_calls"] is False
    assert alone.keys() & {"tools", "tool_choice", "parallel_tool_calls"} == set()


@pytest.mark.parametrize(("strict", "said"), [(True, {"strict": True}), (False, {"strict": False}), (None, {})])
def test_how_strict_a_tool_is_is_told_if_it_says_so(strict: bool | None, said: dict[str, bool]) -> None:
    tool = ToolSpec(name="look_up", description="", parameters={"type": "object"}, strict=strict)

    [tool_told] = told(ChatRequest(messages=(HI,), tools=(tool,)))["tools"]

    assert tool_told["function"] == {
        "name": "look_up", "description": "", "parameters": {"type": "object"}, **said,
    }  # fmt: skip
