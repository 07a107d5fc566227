"""A request in the words of OpenAI's `POST /chat/completions`."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from llm.types import (
    AssistantMessage,
    ChatRequest,
    ImagePart,
    Message,
    Part,
    Sampling,
    SystemMessage,
    TextPart,
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
        fields["tool_choice"] = _choice(request)
        if request.sampling.parallel_tool_calls is not None:
            fields["parallel_tool_calls"] = request.sampling.parallel_tool_calls
    return msgspec.json.encode(fields)


def _sampling(sampling: Sampling, *, limit_field: str) -> dict[str, Any]:
    chosen = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        limit_field: sampling.max_tokens,
        "seed": sampling.seed,
        "stop": sampling.stop,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": sampling.logit_bias,
        "reasoning_effort": sampling.reasoning_effort,
        "response_format": sampling.response_format,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _choice(request: ChatRequest) -> Any:
    return {"type": "function", "function": {"name": request.tool}} if request.tool else request.tool_choice


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    if spec.strict is not None:
        function["strict"] = spec.strict
    return {"type": "function", "function": function}


def _message(message: Message) -> dict[str, Any]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "content": text}
        case UserMessage(text=text, parts=parts):
            return {"role": "user", "content": list(map(_part, parts)) or text}
        case AssistantMessage():
            return _assistant(message)
        case ToolMessage(tool_call_id=call_id, content=content):
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        case _:
            assert_never(message)


def _part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}
        case _:
            assert_never(part)


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    if not message.tool_calls:
        return {"role": "assistant", "content": message.text}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
