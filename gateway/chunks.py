"""Answers as OpenAI's clients read them: `chat.completion.chunk`s, cheap to make, since most of each is the same, and
whole `chat.completion`s."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec

from history.events import AssistantMessage
from llm.types import ToolCall
from llm.types import Usage as Used

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": heartbeat\n\n"

_encode = msgspec.json.Encoder().encode


class PromptDetails(msgspec.Struct, frozen=True):
    """Of the prompt's tokens, those that the provider had in its cache."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct, frozen=True):
    """Of the answer's tokens, those that the model thought with."""

    reasoning_tokens: int


class CompletionUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of this request: of all the model calls that it took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class CalledFunction(msgspec.Struct, frozen=True):
    """What is called, with JSON as the model wrote it."""

    name: str
    arguments: str


class ToolCalled(msgspec.Struct, frozen=True, kw_only=True):
    """A call of one of the caller's tools."""

    id: str
    type: str = "function"
    function: CalledFunction


class CompletionMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said. `content` is null if it only called tools."""

    role: str = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: tuple[ToolCalled, ...] | msgspec.UnsetType = msgspec.UNSET


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """There is always one."""

    index: int = 0
    message: CompletionMessage
    logprobs: None = None
    finish_reason: str


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `usage` is null where the provider told none."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    system_fingerprint: None = None
    choices: tuple[CompletionChoice, ...]
    usage: CompletionUsage | None


class ChunkDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fragment of the answer."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[CallDelta, ...] = ()


class CallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A call of one of the caller's tools; it comes whole."""

    index: int
    id: str
    type: str = "function"
    function: CalledFunction


class ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """There is always one, but for the chunk with the usage."""

    index: int = 0
    delta: ChunkDelta
    logprobs: None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream. `usage` is there only if it was asked for, and in the last one not null."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: None = None
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | msgspec.UnsetType | None = msgspec.UNSET


class ChunkWriter:
    """Writes the chunks of one answer."""

    def __init__(self, turn_id: UUID, *, asked_at: datetime, model: str, with_usage: bool) -> None:
        self._empty = Chunk(
            id=id_of(turn_id),
            created=time_of(asked_at),
            model=model,
            choices=(ChunkChoice(delta=ChunkDelta()),),
            usage=None if with_usage else msgspec.UNSET,
        )
        head, tail = _encode(self._empty).split(b'"delta":{}')
        self._content = b"data: " + head + b'"delta":{"content":'
        self._reasoning = b"data: " + head + b'"delta":{"reasoning_content":'
        self._tail = b"}" + tail + b"\n\n"

    def role(self) -> bytes:
        """The first chunk."""
        return self._choice(ChunkChoice(delta=ChunkDelta(role="assistant", content="")))

    def text(self, text: str) -> bytes:
        """A fragment of the answer's text."""
        return self._content + _encode(text) + self._tail

    def reasoning(self, text: str) -> bytes:
        """A fragment of what the model thinks aloud."""
        return self._reasoning + _encode(text) + self._tail

    def calls(self, calls: tuple[ToolCall, ...]) -> bytes:
        """The calls of the caller's tools."""
        told = tuple(
            CallDelta(index=index, id=call.id, function=CalledFunction(call.name, call.arguments))
            for index, call in enumerate(calls)
        )
        return self._choice(ChunkChoice(delta=ChunkDelta(tool_calls=told)))

    def end(self, finish_reason: str, *, usage: Used | None) -> bytes:
        """The last chunks: why it is over and, if it was asked for and is known, what it has used."""
        last = self._choice(ChunkChoice(delta=ChunkDelta(), finish_reason=finish_reason))
        if self._empty.usage is None and usage is not None:
            last += _event(msgspec.structs.replace(self._empty, choices=(), usage=usage_of(usage)))
        return last + DONE

    def _choice(self, choice: ChunkChoice) -> bytes:
        return _event(msgspec.structs.replace(self._empty, choices=(choice,)))


def completion(
    turn_id: UUID,
    *,
    asked_at: datetime,
    model: str,
    text: str,
    reasoning: str,
    calls: tuple[ToolCall, ...],
    finish_reason: str,
    usage: Used | None,
) -> bytes:
    """A whole answer."""
    message = CompletionMessage(
        content=text or (None if calls else ""),
        reasoning_content=reasoning or msgspec.UNSET,
        tool_calls=tuple(ToolCalled(id=call.id, function=CalledFunction(call.name, call.arguments)) for call in calls)
        or msgspec.UNSET,
    )
    return _encode(
        ChatCompletion(
            id=id_of(turn_id),
            created=time_of(asked_at),
            model=model,
            choices=(CompletionChoice(message=message, finish_reason=finish_reason),),
            usage=None if usage is None else usage_of(usage),
        )
    )


def calls_of(message: AssistantMessage, *, callers: Collection[str]) -> tuple[ToolCall, ...]:
    """The calls in a message that the caller is to answer."""
    return tuple(call for call in message.tool_calls if call.name in callers)


def finish_reason_of(reason: str | None, *, has_called: bool) -> str:
    """Why an answer that is complete ended, in a word that OpenAI's clients know."""
    if has_called:
        return "tool_calls"
    return reason if reason in ("length", "content_filter") else "stop"


def usage_of(used: Used) -> CompletionUsage:
    """Tokens as OpenAI tells them."""
    return CompletionUsage(
        prompt_tokens=used.prompt,
        completion_tokens=used.completion,
        total_tokens=used.prompt + used.completion,
        prompt_tokens_details=PromptDetails(used.cached),
        completion_tokens_details=CompletionDetails(used.reasoning),
    )


def id_of(turn_id: UUID) -> str:
    """An answer's id: its turn's."""
    return f"chatcmpl-{turn_id.hex}"


def time_of(at: datetime) -> int:
    """A Unix time."""
    return int(at.timestamp())


def _event(chunk: Chunk) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"
