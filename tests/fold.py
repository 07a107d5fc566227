"""What a native viewer makes of its frames: an independent reading of PROTOCOL.md, for the law of the log.

The law: old state + the frames sent = a fresh read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import json

from streaming.frames import CaughtUp, Delta, Estimate, Event, Heartbeat, Reset, State

DRAFT_ENDING = {"assistant_message", "turn_restarted", "turn_ended"}
TELLS = {"stats", "completion_log"}


@dataclass
class Folded:
    """Events by number, and the draft after the newest of them as (channel, text) runs.

    `log` has them all; `events` are those in which something is said or done, counted by themselves, without what the
    log tells of model calls, which is in `tells`."""

    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    log: dict[int, dict[str, Any]] = field(default_factory=dict)
    runs: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[int, str] = field(default_factory=dict)
    cursor: str = "0.0"
    caught_up: bool = False
    resets: int = 0
    estimates: list[Estimate] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self.log or dict(self.events)
        self._count()

    @property
    def tells(self) -> list[dict[str, Any]]:
        return [event for event in self.log.values() if event.get("kind") in TELLS]

    @property
    def stats(self) -> Any:
        told = (event["data"] for event in reversed(self.tells) if event["kind"] == "stats")
        return next(told, self.state.get("stats"))

    @property
    def length(self) -> int:
        return sum(len(text) for _, text in self.runs)

    @property
    def draft(self) -> str:
        return self.said("text")

    def said(self, channel: str) -> str:
        return "".join(text for name, text in self.runs if name == channel)

    def fold(self, frames: Iterable[Any]) -> Folded:
        for frame in frames:
            self.add(frame)
        return self

    def add(self, frame: Any) -> None:
        match frame:
            case Event():
                assert frame.seq == len(self.log) + 1, "events come in order, once, without holes"
                data = json.decode(json.encode(frame.data))
                self.log[frame.seq] = event = {"kind": frame.kind, "turn": frame.turn, "data": data}
                if frame.kind not in TELLS:
                    self.events[len(self.events) + 1] = event
                if frame.kind in DRAFT_ENDING:
                    if frame.kind != "turn_restarted":  # that withdraws what was shown
                        self._check(frame.data if frame.kind == "assistant_message" else {})
                    self.runs, self.arguments = [], {}
            case Delta(channel="tool_arguments"):
                known = self.arguments.setdefault(frame.index or 0, "")
                assert frame.offset == len(known), "arguments come from 0, in order"
                self.arguments[frame.index or 0] = known + frame.text
            case Delta():
                assert frame.offset == self.length, "a delta begins where the draft ends"
                self._grow(frame.channel, frame.text)
            case Reset():
                self.resets += 1
                seq, offset = map(int, frame.cursor.split("."))
                self.log = {number: event for number, event in self.log.items() if number <= seq}
                self._count()
                self._cut(offset)
                self.arguments = {}
            case CaughtUp():
                self.caught_up = True
            case _:
                self._aside(frame)
        self.cursor = frame.cursor

    def _aside(self, frame: Any) -> None:
        match frame:
            case Estimate():
                self.estimates.append(frame)
            case State():
                self.state[frame.key] = frame.value
            case Heartbeat():
                pass
            case _:
                raise AssertionError(f"no native viewer knows {frame!r}")

    def reconnected(self) -> Folded:
        """What a viewer keeps when its connection drops: all but unfinished arguments."""
        self.arguments = {}
        self.caught_up = False
        return self

    def _count(self) -> None:
        said = [event for event in self.log.values() if event.get("kind") not in TELLS]
        self.events = dict(enumerate(said, 1))

    def _check(self, message: dict[str, Any]) -> None:
        for channel in ("text", "reasoning"):
            assert message.get(channel, "").startswith(self.said(channel)), "what was shown and not withdrawn is stored"

    def _grow(self, channel: str, text: str) -> None:
        if self.runs and self.runs[-1][0] == channel:
            self.runs[-1] = (channel, self.runs[-1][1] + text)
        else:
            self.runs.append((channel, text))

    def _cut(self, offset: int) -> None:
        kept, self.runs = self.runs, []
        for channel, text in kept:
            if offset > 0:
                self._grow(channel, text[:offset])
            offset -= len(text)
