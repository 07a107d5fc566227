"""What the log of a made-up conversation tells of its model calls: for each a snapshot of all, and its own record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

AGENT, TITLE = "agent", "title"
PRICE = Decimal("0.00000125")
Data = dict[str, Any]


class Tally:
    """The calls of one conversation so far."""

    def __init__(self) -> None:
        self._conversation = _nothing()
        self._turns: dict[str, Data] = {}
        self._roles: dict[str, Data] = {}
        self._turn: str | None = None

    def tell(self, turn: str | None, *, usage_id: str, words: int, outcome: str, **place: int | None) -> list[Data]:
        """A call is over, in which so many words were said: the data of its two events, in their order."""
        usage = {"prompt": 10, **({"completion": words} if words else {})}  # what is zero is left out
        record = {
            "usage_id": usage_id,
            "model": "scripted",
            "outcome": outcome,
            "usage": usage,
            "estimated": outcome != "completed",
            "cost": f"{(10 + words) * PRICE:f}",
            **place,
        }
        last = {"model": "scripted", "context_window": 100, "context_used": 10 + words}
        totals = [self._conversation, self._roles.setdefault(usage_id, {**_nothing(), **last})]
        if turn is not None:
            self._turn = turn
            totals.append(self._turns.setdefault(turn, _nothing()))
        for each in totals:
            _add(each, record)
        self._roles[usage_id].update(last)
        snapshot = {
            "usage_id": usage_id,
            "usage": {name: dict(role) for name, role in self._roles.items()},
            "turn": dict(self._turns.get(self._turn or "", _nothing())),
            "turn_id": self._turn,
            "conversation": dict(self._conversation),
        }
        return [snapshot, record]

    def of_turn(self, turn: str) -> Data:
        """What its end says; nothing if it had no call."""
        if (totals := self._turns.get(turn)) is None:
            return {}
        named = {name: totals[name] for name in ("prompt", "completion") if totals[name]}
        return {"usage": named, "cost": totals["cost"]}


def _nothing() -> Data:
    return {**dict.fromkeys(("calls", "prompt", "completion", "cached", "reasoning", "estimated"), 0), "cost": None}


def _add(totals: Data, record: Data) -> None:
    totals["calls"] += 1
    totals["estimated"] += record["estimated"]
    for name, tokens in record["usage"].items():
        totals[name] += tokens
    totals["cost"] = f"{Decimal(totals['cost'] or 0) + Decimal(record['cost']):f}"
