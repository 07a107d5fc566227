"""What else is to be known of a conversation than its log: title, status, model, and the newest stats; pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from verbatim_client.frames import Estimate, Event, Frame, StateChange
from verbatim_client.stats import Stats

ENDS_A_CALL = frozenset({"turn_restarted", "turn_ended"})


@dataclass(slots=True)
class State:
    """`values` are by key: `title`, `status`, `model`, `archived`, and whatever a newer server says."""

    values: dict[str, Any] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)

    def take(self, frame: Frame) -> None:
        """Take what a frame says of it. Snapshots replace each other, so none has to be added to another."""
        match frame:
            case Event(kind="stats", data=data) | StateChange(key="stats", value=dict(data)):
                self.stats = Stats.of(data)
            case StateChange(key=key, value=value):
                self.values[key] = value
            case Estimate():
                self.stats = replace(self.stats, estimate=frame)
            case Event(kind=kind) if kind in ENDS_A_CALL:
                self.reconnected()

    def reconnected(self) -> None:
        """What was guessed of the call in progress is old."""
        self.stats = replace(self.stats, estimate=None)
