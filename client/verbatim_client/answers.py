"""What a turn came to, read from its events; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from verbatim_client.frames import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnError:
    """Why a turn failed."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An ended turn. `status` is completed, cancelled or failed; `text` what was said in all its hops.

    `usage` counts tokens: prompt, completion, cached, reasoning. `cost` is in US dollars, None without prices.
    """

    turn: str
    status: str
    text: str
    reasoning: str
    finish_reason: str | None
    usage: dict[str, int]
    cost: Decimal | None
    error: TurnError | None

    def __str__(self) -> str:
        return self.text


def answer_of(events: Sequence[Event]) -> Answer:
    """The answer that these events of a turn make, of which `turn_ended` is the last."""
    messages = [event.data for event in events if event.kind == "assistant_message"]
    end = next(event for event in reversed(events) if event.kind == "turn_ended")
    cost = end.data.get("cost")
    return Answer(
        turn=end.turn or "",
        status=str(end.data["status"]),
        text="".join(message.get("text", "") for message in messages),
        reasoning="".join(message.get("reasoning", "") for message in messages),
        finish_reason=end.data.get("finish_reason"),
        usage=dict(end.data.get("usage") or {}),
        cost=Decimal(cost) if cost is not None else None,
        error=_error(end.data.get("error")),
    )


def _error(data: dict[str, Any] | None) -> TurnError | None:
    return TurnError(code=str(data["code"]), message=str(data["message"])) if data else None
