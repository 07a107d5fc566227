"""A request in the words of OpenAI's `POST /chat/completions`."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from llm.types import (
    AssistantMessage,
    ChatRequest,
    Message,
    Sampling,
    SystemMessage,
    ToolMessage,
    ToolSpec,
    UserMessage,
)


def body(request: ChatRequest, *, model: str, limit_field: str = "max_tokens") -> bytes:
    """The JSON to post. `limit_field` is what the provider calls the bound on completion tokens."""
    fields: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request.sampling, limit_field=limit_field),
    }
    if request.tools:
        fields["tools"] = [_tool(spec) for spec in request.tools]
        fields["tool_choice"] = request.tool_choice
    return msgspec.json.encode(fields)


def _sampling(sampling: Sampling, *, limit_field: str) -> dict[str, Any]:
    chosen = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        limit_field: sampling.max_tokens,
        "seed": sampling.seed,
        "stop": sampling.stop,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


def _message(message: Message) -> dict[str, Any]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "content": text}
        case UserMessage(text=text):
            return {"role": "user", "content": text}
        case AssistantMessage():
            return _assistant(message)
        case ToolMessage(tool_call_id=call_id, content=content):
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        case _:
            assert_never(message)


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    if not message.tool_calls:
        return {"role": "assistant", "content": message.text}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
