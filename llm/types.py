"""What goes to a model and what comes back: plain values, the same for every provider.

`gc=False` where there is one per token: strings and numbers are in no cycle, and the garbage collector need not look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

Json: TypeAlias = Any


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the values in this room: immutable, tolerant of unknown fields when read back."""


class ToolCall(Value, frozen=True):
    """A tool the model asked for. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


class SystemMessage(Value, frozen=True, tag="system", tag_field="role"):
    """What the operator tells the model before anything else."""

    text: str


class TextPart(Value, frozen=True, tag="text", tag_field="type"):
    """A part of a message that is text."""

    text: str


class ImagePart(Value, frozen=True, tag="image", tag_field="type"):
    """A part that is an image: an https address, or the image itself as a `data:` URL. `detail` is the provider's."""

    url: str
    detail: str | None = None


Part: TypeAlias = TextPart | ImagePart


class UserMessage(Value, frozen=True, tag="user", tag_field="role"):
    """What the person said. `text` is all text of it; what is not only text has all its `parts`, in order."""

    text: str
    parts: tuple[Part, ...] = ()


class AssistantMessage(Value, frozen=True, tag="assistant", tag_field="role"):
    """What the model said. Each of its `tool_calls` is answered by the `ToolMessage`s right after it."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


class ToolMessage(Value, frozen=True, tag="tool", tag_field="role"):
    """The answer to one tool call."""

    tool_call_id: str
    name: str
    content: str
    is_error: bool = False


Message: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolMessage


ToolChoice: TypeAlias = Literal["auto", "none", "required"]


class ToolSpec(Value, frozen=True):
    """A tool as a model sees it. `parameters` is a JSON Schema of type object. `strict`: calls must be as it says, if
    the provider can have it so."""

    name: str
    description: str
    parameters: dict[str, Json]
    strict: bool | None = None


class Sampling(Value, frozen=True):
    """How the model chooses its words; None leaves it to the provider. `max_tokens` bounds one call's completion. From
    `presence_penalty` on, meaning and shape are OpenAI's."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Json] | None = None
    parallel_tool_calls: bool | None = None


class ChatRequest(Value, frozen=True):
    """One model call. `usage_id` says in which role the model is asked, `call_id` is "turn:attempt:hop:try". `tool` is
    the name of the tool that the model must call.

    `time_limit`, in seconds, shortens the adapter's total deadline: a repeated call gets what is left of the first's.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    tool: str = ""
    sampling: Sampling = Sampling()
    usage_id: str = "agent"
    call_id: str = ""
    time_limit: float | None = None


class TextDelta(Value, frozen=True, gc=False):
    """A fragment of the answer's text, never empty."""

    text: str


class ReasoningDelta(Value, frozen=True, gc=False):
    """A fragment of what the model thinks aloud, never empty."""

    text: str


class ToolCallDelta(Value, frozen=True, gc=False):
    """A fragment of one tool call. `index` says which; providers also omit it or send calls whole."""

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Finish(Value, frozen=True, gc=False):
    """Why the model stopped: stop, length, tool_calls, content_filter, or what else the provider says."""

    reason: str


class Usage(Value, frozen=True, gc=False):
    """Tokens of one call as the provider counts them. `cached` is part of `prompt`, `reasoning` of `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion."""
        return self.prompt + self.completion

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            cached=self.cached + other.cached,
            reasoning=self.reasoning + other.reasoning,
        )


def total_of(usages: Iterable[Usage | None]) -> Usage | None:
    """The sum; None as long as no call has reported any."""
    total: Usage | None = None
    for usage in usages:
        total = usage if total is None else total + (usage or Usage())
    return total


Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | Finish | Usage


class Deltas(Protocol):
    """A reply as it comes: an async generator, or what stands in for one. Whoever reads it closes it."""

    def __aiter__(self) -> AsyncIterator[Delta]: ...

    def __anext__(self) -> Awaitable[Delta]: ...

    def aclose(self) -> Awaitable[object]: ...


class ChatModel(Protocol):
    """The port to a model. One real adapter, one demo, one scripted double."""

    def stream(self, request: ChatRequest) -> Deltas:
        """The reply as deltas, in order of arrival.

        It ends normally only after a `Finish` (`Usage` may come before or after it), else it raises a
        `ModelError`: an upstream that just ends is `Truncated`. Closing or cancelling it closes the
        upstream connection before it returns.
        """
        ...
