"""The kinds of event in the log and the shape of each one's data; pure values.

Reading is tolerant: unknown fields are ignored here and stay in the row, unknown kinds are passed through as they are,
so that two versions can share a database during a deploy.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from llm.shapes import ready
from llm.types import Part, ToolCall, Usage

Channel: TypeAlias = Literal["text", "reasoning"]


class Kind(StrEnum):
    """The tag of an event."""

    USER_MESSAGE = "user_message"
    ASSISTANT_MESSAGE = "assistant_message"
    TOOL_RESULT = "tool_result"
    TURN_RESTARTED = "turn_restarted"
    TURN_ENDED = "turn_ended"


DRAFT_ENDING = frozenset({Kind.ASSISTANT_MESSAGE, Kind.TURN_RESTARTED, Kind.TURN_ENDED})
"""Kinds that end the draft before them: after one of these a cursor's offset counts from 0 again."""


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what events carry."""


class CallerResult(Data, frozen=True):
    """What one of the caller's own tools answered."""

    tool_call_id: str
    content: str


class UserMessage(Data, frozen=True):
    """A turn begins. `parent` is the turn it follows, `replaces` the turn it is another version of (turn ids). What is
    not only text has all its `parts`; viewers get a `data:` URL only up to its comma, without the image. `results`
    answer the parent's calls of the caller's own tools; where there are `results`, also none, a message without text
    is not a person's, who has said nothing."""

    text: str
    parts: tuple[Part, ...] | UnsetType = UNSET
    results: tuple[CallerResult, ...] | UnsetType = UNSET
    request_id: str | None = None
    parent: str | None = None
    replaces: str | None = None
    model: str = ""


class Source(Data, frozen=True):
    """Where a tool's result comes from."""

    title: str
    url: str


class AssistantMessage(Data, frozen=True):
    """What one model call said. `runs` holds channel and length in code points of each stretch, in order of arrival."""

    hop: int
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    model: str = ""
    usage: Usage | None = None
    runs: tuple[tuple[Channel, int], ...] = ()

    def stretches(self) -> Iterator[tuple[int, Channel, str]]:
        """The draft that became this message: offset, channel and text of each stretch."""
        offset = 0
        at: dict[Channel, int] = {"text": 0, "reasoning": 0}
        for channel, length in self.runs or (("text", len(self.text)),):
            text = self.text if channel == "text" else self.reasoning
            yield offset, channel, text[at[channel] : at[channel] + length]
            at[channel] += length
            offset += length


class ToolResult(Data, frozen=True):
    """The answer to call number `index` of hop `hop`. `duration_ms` is wall time in milliseconds."""

    hop: int
    index: int
    tool_call_id: str
    name: str
    content: str
    is_error: bool = False
    duration_ms: int = 0
    sources: tuple[Source, ...] = ()


class TurnRestarted(Data, frozen=True):
    """The turn was taken over and begins again at `hop`; what was shown of that hop is withdrawn."""

    attempt: int
    hop: int
    reason: str


class TurnError(Data, frozen=True):
    """Why a turn failed: a stable code and a sentence for the person who waits."""

    code: str
    message: str


class TurnEnded(Data, frozen=True):
    """The turn is over. `status` is completed, cancelled or failed; `cost` is in US dollars, null without prices."""

    status: Literal["completed", "cancelled", "failed"]
    error: TurnError | None = None
    usage: Usage | None = None
    cost: str | None = None
    finish_reason: str | None = None


EventData: TypeAlias = UserMessage | AssistantMessage | ToolResult | TurnRestarted | TurnEnded

DATA: dict[str, type[EventData]] = {
    Kind.USER_MESSAGE: UserMessage,
    Kind.ASSISTANT_MESSAGE: AssistantMessage,
    Kind.TOOL_RESULT: ToolResult,
    Kind.TURN_RESTARTED: TurnRestarted,
    Kind.TURN_ENDED: TurnEnded,
}

KINDS: dict[type[EventData], Kind] = {data: Kind(kind) for kind, data in DATA.items()}

ready(*KINDS, tuple[CallerResult, ...])
