"""What one model call came to, and how the log tells it: after each call a snapshot of all of them.

A snapshot is made from the one before, so it costs the same after a thousand calls as after one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from history import contents
from history.conf import chat_settings
from history.events import CompletionLog, Kind, Outcome, RoleStats, Stats, Totals, TurnError
from history.log import Appending
from history.models import Event
from history.prepared import Select, given
from llm.types import Usage

Price: TypeAlias = Callable[[Usage], Decimal | None]

AGENT = "agent"
UNSAFE = re.compile(r"[^\w.@+-]", re.ASCII)
"""What not every file system takes."""
CHARACTERS = 4
"""About how many code points are one token."""

_NEWEST = Select(
    lambda: (
        Event.objects.filter(conversation_id=given(Event, "conversation"), kind=Kind.STATS)
        .order_by("-seq")
        .values_list("data")[:1]
    )
)

T = TypeVar("T", bound=Totals)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A model call that is over. `hop` and `attempt` are those of its turn, if it is of one; times are in milliseconds.
    `is_estimated`: the provider has not said what it used."""

    model: str
    context_window: int
    outcome: Outcome
    usage: Usage
    usage_id: str = AGENT
    attempt: int | None = None
    hop: int | None = None
    is_estimated: bool = False
    cost: Decimal | None = None
    started_at: datetime | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    retries: int = 0
    finish_reason: str | None = None
    error: TurnError | None = None
    content: bytes | None = None
    """What was asked and answered, as `history.contents` packs it."""

    @property
    def tokens_per_second(self) -> float | None:
        """How fast it spoke, from its first word on; None if that cannot be said."""
        if self.latency_ms is None or self.first_token_ms is None or self.latency_ms <= self.first_token_ms:
            return None
        return round(self.usage.completion * 1000 / (self.latency_ms - self.first_token_ms), 1)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call whose process is gone by whoever finds its turn: what it was asked of, and the tokens of
    its prompt."""

    model: str
    context_window: int
    prompt: int
    price: Price

    def lost(self, *, attempt: int, hop: int, said: int) -> Call:
        """The call of that hop, of whose reply so many code points are stored."""
        usage = Usage(prompt=self.prompt, completion=tokens(said))
        return Call(
            model=self.model,
            context_window=self.context_window,
            outcome="lost",
            usage=usage,
            attempt=attempt,
            hop=hop,
            is_estimated=True,
            cost=self.price(usage),
        )


def tokens(length: int) -> int:
    """About how many tokens so many code points are."""
    return -(-length // CHARACTERS)


def newest(conversation_id: UUID) -> dict[str, Any] | None:
    """The newest snapshot of a conversation, as the log has it; None before the first call."""
    row = _NEWEST.first(conversation=conversation_id)
    return None if row is None else row[0]


def tell(log: Appending, turn_id: UUID | None, call: Call | None) -> Stats | None:
    """Append what the log has to tell of a call, if there was one. The newest snapshot, None before the first call."""
    data = newest(log.conversation_id)
    before = None if data is None else msgspec.convert(data, Stats)
    if call is None:
        return before
    stats = counted(before, call, turn_id=turn_id)
    log.append(turn_id, stats)
    log.calls.append(call)
    if chat_settings().completion_logs != "off":
        seq = log.append(turn_id, logged(call, at=call.started_at or log.now))
        if call.content is not None:
            contents.store(log.conversation_id, seq=seq, data=call.content)
    return stats


def counted(before: Stats | None, call: Call, *, turn_id: UUID | None) -> Stats:
    """The snapshot after that call; pure. One of no turn changes nothing in what is told of the newest turn."""
    before = before or Stats(usage_id="", usage={}, turn=Totals(), turn_id=None, conversation=Totals())
    role = _added(before.usage.get(call.usage_id, RoleStats()), call)
    role = msgspec.structs.replace(
        role,
        model=call.model,
        context_window=call.context_window,
        context_used=call.usage.total or role.context_used,
        latency_ms=call.latency_ms,
        first_token_ms=call.first_token_ms,
        tokens_per_second=call.tokens_per_second,
    )
    turn, of = before.turn, before.turn_id
    if turn_id is not None:
        of = str(turn_id)
        turn = _added(before.turn if before.turn_id == of else Totals(), call)
    return Stats(
        usage_id=call.usage_id,
        usage={**before.usage, call.usage_id: role},
        turn=turn,
        turn_id=of,
        conversation=_added(before.conversation, call),
    )


def logged(call: Call, *, at: datetime) -> CompletionLog:
    """A call's entry in the log, for one that began then."""
    return CompletionLog(
        usage_id=call.usage_id,
        model=call.model,
        filename=filename(call.model, at=at),
        outcome=call.outcome,
        attempt=call.attempt,
        hop=call.hop,
        started_at=None if call.started_at is None else _wire_time(call.started_at),
        latency_ms=call.latency_ms,
        first_token_ms=call.first_token_ms,
        usage=call.usage,
        estimated=call.is_estimated,
        cost=None if call.cost is None else f"{call.cost:f}",
        retries=call.retries,
        finish_reason=call.finish_reason,
        error=call.error,
        has_content=call.content is not None,
    )


def filename(model: str, *, at: datetime) -> str:
    """A name for a file about a call: the model's, the seconds since 1970, and something that nobody else has. It is
    made for people and never read back: what it says, the log says beside it."""
    name = UNSAFE.sub("_", model.replace("/", "__"))
    return f"{name}-{at.timestamp():.3f}-{secrets.token_hex(2)}.json"


def usage_of(totals: Totals) -> Usage:
    """The tokens alone."""
    return Usage(prompt=totals.prompt, completion=totals.completion, cached=totals.cached, reasoning=totals.reasoning)


def _wire_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _added(totals: T, call: Call) -> T:
    cost = totals.cost
    if call.cost is not None:
        cost = f"{Decimal(cost or 0) + call.cost:f}"
    return msgspec.structs.replace(
        totals,
        calls=totals.calls + 1,
        prompt=totals.prompt + call.usage.prompt,
        completion=totals.completion + call.usage.completion,
        cached=totals.cached + call.usage.cached,
        reasoning=totals.reasoning + call.usage.reasoning,
        estimated=totals.estimated + call.is_estimated,
        cost=cost,
    )
