"""What a native viewer makes of its frames: an independent reading of PROTOCOL.md, for the law of the log.

The law: old state + the frames sent = a fresh read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import json

from streaming.frames import CaughtUp, Delta, Event, Heartbeat, Reset

DRAFT_ENDING = {"assistant_message", "turn_restarted", "turn_ended"}


@dataclass
class Folded:
    """Events by number, and the draft after the newest of them as (channel, text) runs."""

    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    runs: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[int, str] = field(default_factory=dict)
    cursor: str = "0.0"
    caught_up: bool = False
    resets: int = 0

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
                assert frame.seq == len(self.events) + 1, "events come in order, once, without holes"
                self.events[frame.seq] = {
                    "kind": frame.kind,
                    "turn": frame.turn,
                    "data": json.decode(json.encode(frame.data)),
                }
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
                self.events = {number: event for number, event in self.events.items() if number <= seq}
                self._cut(offset)
                self.arguments = {}
            case CaughtUp():
                self.caught_up = True
            case Heartbeat():
                pass
            case _:
                raise AssertionError(f"no native viewer knows {frame!r}")
        self.cursor = frame.cursor

    def reconnected(self) -> Folded:
        """What a viewer keeps when its connection drops: all but unfinished arguments."""
        self.arguments = {}
        self.caught_up = False
        return self

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
