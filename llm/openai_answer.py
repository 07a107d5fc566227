"""OpenAI's `chat.completion.chunk`s, as many providers write them, read into deltas; no I/O.

Known ways to differ that are taken as they come: null or unknown fields, reasoning as `reasoning_content` or
`reasoning`, usage beside or after the finish reason or inside a choice, a whole `message` where a `delta` should be,
arguments as an object, escaped surrogate halves in two chunks, an error in the middle of a good stream.
"""

from __future__ import annotations

import json
from enum import Enum, auto
from typing import Any

import msgspec

from llm.errors import EmptyReply, Malformed, Truncated
from llm.openai_errors import error_in_stream
from llm.shapes import ready
from llm.surrogates import REPLACEMENT, Channel, Mender, joined
from llm.types import Delta, Finish, Json, ReasoningDelta, TextDelta, ToolCallDelta, Usage

DONE = b"[DONE]"
MAY_BE_EMPTY = ("length", "content_filter")
"""Reasons for which an answer without any content is no fault."""


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct, gc=False):
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None
    usage: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


ready(_Chunk)
_decode = msgspec.json.Decoder(_Chunk).decode


class Stage(Enum):
    """How far an answer is."""

    SILENT = auto()
    SPEAKING = auto()
    FINISHED = auto()
    """The finish reason is known."""
    DONE = auto()
    """The stream has said that it is over."""


class Answer:
    """What one call has said so far."""

    def __init__(self) -> None:
        self.stage = Stage.SILENT
        self.finish_reason: str | None = None
        self._usage: Usage | None = None
        self._mender = Mender()
        self._channels: set[str] = set()

    @property
    def said(self) -> bool:
        """Whether there was any content."""
        return bool(self._channels)

    def read(self, data: bytes) -> list[Delta]:
        """The deltas in the data of one event. Raises `Malformed`, or what an error event says."""
        if data == DONE or self.stage is Stage.DONE:
            self.stage = Stage.DONE
            return []
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            chunk = _decode_leniently(data)
        return self._chunk(chunk)

    def take(self, chunk: Json) -> list[Delta]:
        """The deltas in a chunk that is plain values already. Raises `Malformed`, or what an error in it says."""
        try:
            return self._chunk(msgspec.convert(chunk, _Chunk))
        except msgspec.ValidationError:
            raise Malformed from None

    def end(self) -> list[Delta]:
        """The last deltas: `Finish` and, where the provider gave it, `Usage`. Raises `Truncated` or `EmptyReply`."""
        if self.finish_reason is None:
            raise Truncated
        if not self.said and self.finish_reason not in MAY_BE_EMPTY:
            raise EmptyReply
        deltas = self.left()
        deltas.append(Finish(reason=self.finish_reason))
        if self._usage is not None:
            deltas.append(self._usage)
        return deltas

    def left(self) -> list[Delta]:
        """U+FFFD for each half of a character whose other half never came."""
        return [_fragment(channel, REPLACEMENT) for channel in self._mender.left()]

    def _chunk(self, chunk: _Chunk) -> list[Delta]:
        if chunk.error:
            raise error_in_stream(chunk.error)
        if chunk.usage is not None:
            self._usage = usage_from(chunk.usage) or self._usage
        deltas: list[Delta] = []
        if not chunk.choices:
            return deltas
        choice = chunk.choices[0]
        if choice.delta is not None:
            self._say(choice.delta, deltas=deltas, unless=())
        if choice.message is not None:
            self._say(choice.message, deltas=deltas, unless=tuple(self._channels))
        if choice.finish_reason:
            self.finish_reason = joined(choice.finish_reason)
            self.stage = Stage.FINISHED
        if choice.usage is not None:
            self._usage = usage_from(choice.usage) or self._usage
        return deltas

    def _say(self, said: _Said, *, deltas: list[Delta], unless: tuple[str, ...]) -> None:
        """Append what was said, but for the channels in `unless`: a whole message repeats what came as deltas."""
        if "reasoning" not in unless:
            thought = said.reasoning_content or said.reasoning
            if thought and isinstance(thought, str):
                self._speak("reasoning", thought, deltas=deltas)
        if "text" not in unless:
            text = said.content or said.refusal
            if text:
                self._speak("text", text if isinstance(text, str) else _text_of_parts(text), deltas=deltas)
        if said.tool_calls and "call" not in unless:
            for call in said.tool_calls:
                self._call(call, deltas=deltas)

    def _speak(self, channel: str, fragment: str, *, deltas: list[Delta]) -> None:
        if text := self._mender.mend(fragment, channel=channel):
            deltas.append(TextDelta(text=text) if channel == "text" else ReasoningDelta(text=text))
        if fragment and channel not in self._channels:
            self._opens(channel)

    def _call(self, call: _Call, *, deltas: list[Delta]) -> None:
        function = call.function or _Function()
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            arguments = json.dumps(arguments, ensure_ascii=False)
        fragment = ToolCallDelta(
            index=call.index,
            id=joined(call.id) if call.id else None,
            name=joined(function.name) if function.name else None,
            arguments=self._mender.mend(arguments, channel=call.index),
        )
        if fragment.id or fragment.name or fragment.arguments:
            deltas.append(fragment)
            self._opens("call")

    def _opens(self, channel: str) -> None:
        self._channels.add(channel)
        if self.stage is Stage.SILENT:
            self.stage = Stage.SPEAKING


def _fragment(channel: Channel, text: str) -> Delta:
    match channel:
        case "reasoning":
            return ReasoningDelta(text=text)
        case str():
            return TextDelta(text=text)
        case index:
            return ToolCallDelta(index=index, arguments=text)


def _decode_leniently(data: bytes) -> _Chunk:
    """Lone surrogate escapes, which msgspec refuses, and bytes that are not UTF-8."""
    try:
        return msgspec.convert(json.loads(data.decode(errors="replace")), _Chunk)
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise Malformed from None


def _text_of_parts(parts: list[Any]) -> str:
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def usage_from(told: Any) -> Usage | None:
    """Usage in OpenAI's words. Tolerant of anything: a strange usage must not cost an answer."""
    if not isinstance(told, dict):
        return None
    return Usage(
        prompt=_count(told, "prompt_tokens"),
        completion=_count(told, "completion_tokens"),
        cached=_count(told.get("prompt_tokens_details"), "cached_tokens"),
        reasoning=_count(told.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(told: Any, name: str) -> int:
    count = told.get(name) if isinstance(told, dict) else None
    return int(count) if isinstance(count, int | float) and 0 < count < 2**31 else 0
