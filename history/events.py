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
Outcome: TypeAlias = Literal["completed", "failed", "cancelled", "released", "lost"]


class Kind(StrEnum):
    """The tag of an event."""

    USER_MESSAGE = "user_message"
    ASSISTANT_MESSAGE = "assistant_message"
    TOOL_RESULT = "tool_result"
    TURN_RESTARTED = "turn_restarted"
    TURN_ENDED = "turn_ended"
    STATS = "stats"
    COMPLETION_LOG = "completion_log"


TELLS = frozenset({Kind.STATS, Kind.COMPLETION_LOG})
"""Kinds that tell how model calls went, and nothing that anybody has said."""

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


class Totals(Data, frozen=True):
    """What model calls came to: how many, their tokens, and what they cost in US dollars, null if that is not known of
    any. `cached` is part of `prompt`, `reasoning` of `completion`. `estimated` is of how many of the calls the tokens
    are estimated: they were stopped, failed or lost, or their provider counts none."""

    calls: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: int = 0
    cost: str | None = None


class RoleStats(Totals, frozen=True):
    """The calls in one role, and of the last one: its model, that model's context window and the tokens that the call
    had of it, how long it took, and how long it was until its first word, in milliseconds."""

    model: str = ""
    context_window: int = 0
    context_used: int = 0
    latency_ms: int | None = None
    first_token_ms: int | None = None
    tokens_per_second: float | None = None


class Stats(Data, frozen=True):
    """A model call is over. A snapshot, which takes the place of the one before: all calls of the conversation by usage
    id and together, and those of the turn `turn_id`, the newest with a call. `usage_id` is the role of this call."""

    usage_id: str
    usage: dict[str, RoleStats]
    turn: Totals
    turn_id: str | None
    conversation: Totals


class CompletionLog(Data, frozen=True):
    """A model call is over: once per call, however it ended. `released`: its process had to end; `lost`: its process
    was gone. `model` is what its profile calls it, `filename` a name under which a client may keep the log. `hop` and
    `attempt` are null for calls of no turn; times are in milliseconds, `cost` is in US dollars. `has_content`: what
    was asked and answered is kept, for those who may read it."""

    usage_id: str
    model: str
    filename: str
    outcome: Outcome
    attempt: int | None
    hop: int | None
    started_at: str | None
    latency_ms: int | None
    first_token_ms: int | None
    usage: Usage
    estimated: bool
    cost: str | None
    retries: int
    finish_reason: str | None
    error: TurnError | None
    has_content: bool = False

    @property
    def index(self) -> int | None:
        """What tells it from another call of the hop."""
        return self.attempt


EventData: TypeAlias = UserMessage | AssistantMessage | ToolResult | TurnRestarted | TurnEnded | Stats | CompletionLog

DATA: dict[str, type[EventData]] = {
    Kind.USER_MESSAGE: UserMessage,
    Kind.ASSISTANT_MESSAGE: AssistantMessage,
    Kind.TOOL_RESULT: ToolResult,
    Kind.TURN_RESTARTED: TurnRestarted,
    Kind.TURN_ENDED: TurnEnded,
    Kind.STATS: Stats,
    Kind.COMPLETION_LOG: CompletionLog,
}

KINDS: dict[type[EventData], Kind] = {data: Kind(kind) for kind, data in DATA.items()}

ready(*KINDS, tuple[CallerResult, ...])
