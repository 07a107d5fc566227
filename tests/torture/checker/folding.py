"""What viewers make of their frames: independent readings of PROTOCOL.md that note what should not have come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.torture.records import Frame

DRAFT_ENDING = {"assistant_message", "turn_restarted", "turn_ended"}
STATUS = "Status: "
"""How plain text tells of an error."""
AGAIN = ("answer_restarted", "draining", "busy", "still_running", "access_ended", "rate_limited", "turn_active")
"""The codes after which the same request is sent again: its stream has ended, and its turn has not; or it was refused
for now."""
Kind = Literal["order", "gap", "unsaid", "fenced"]


@dataclass(frozen=True)
class Flaw:
    """A frame that breaks a promise: out of `order` (R1), with a `gap` or double (R6), dropping text without a word
    (`unsaid`, R7), or with text of a `fenced` attempt (R10)."""

    kind: Kind
    message: str
    frame: Frame


@dataclass
class Native:
    """A viewer of the native protocol. `visible` are the numbers it may see, if it does not see all."""

    visible: list[int] | None = None
    events: dict[int, Frame] = field(default_factory=dict)
    draft: list[tuple[str, str]] = field(default_factory=list)
    arguments: dict[int, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    state: Frame = field(default_factory=dict)
    """What is shown beside the log, by key."""
    cursor: str = "0.0"
    flaws: list[Flaw] = field(default_factory=list)
    lost: bool = False
    """The draft makes no sense any more, which was said; wait for the next one."""

    @property
    def seq(self) -> int:
        """The number of the newest event."""
        return max(self.events, default=0)

    @property
    def length(self) -> int:
        """Of the draft, in code points."""
        return sum(len(text) for _, text in self.draft)

    def text(self, channel: str) -> str:
        """What the draft says in this channel."""
        return "".join(text for name, text in self.draft if name == channel)

    def reconnect(self) -> None:
        """Unfinished arguments come again from 0 or not at all."""
        self.arguments = {}

    def add(self, frame: Frame) -> None:
        """One more frame."""
        match frame["type"]:
            case "event":
                self._event(frame)
            case "delta":
                self._delta(frame)
            case "reset":
                self._reset(frame)
            case "state":
                self.state[frame["key"]] = frame["value"]
        self.cursor = frame.get("cursor", self.cursor) if frame["type"] != "accepted" else self.cursor

    def _event(self, event: Frame) -> None:
        seq, kind, turn = event["seq"], event["kind"], event["turn"]
        if seq != self._next():
            self._flaw("order", f"event {seq} came after {self.seq}", event)
        self.events[seq] = {name: event[name] for name in ("kind", "turn", "data")}
        if kind == "turn_restarted":
            self.attempts[turn] = event["data"]["attempt"]
        elif kind in DRAFT_ENDING and not self.lost:
            self._settle(event)
        if kind in DRAFT_ENDING:
            self.draft, self.arguments, self.lost = [], {}, False

    def _next(self) -> int | None:
        if self.visible is None:
            return self.seq + 1
        return next((seq for seq in self.visible if seq > self.seq), None)

    def _settle(self, event: Frame) -> None:
        for channel in ("text", "reasoning"):
            shown, stored = self.text(channel), event["data"].get(channel, "")
            if not stored.startswith(shown):
                self._flaw("unsaid", f"{channel} was shown, became something else, and nobody said so", event)

    def _delta(self, delta: Frame) -> None:
        attempt, newest = delta["attempt"], self.attempts.get(delta["turn"], 1)
        if attempt < newest:
            self._flaw("fenced", f"text of attempt {attempt} came after attempt {newest} had begun", delta)
            return
        if attempt > newest and not self.lost:
            self._flaw("unsaid", f"text of attempt {attempt} came without a turn_restarted", delta)
            self.lost = True
        if delta["channel"] == "tool_arguments":
            self._arguments(delta)
        elif not self.lost and delta["offset"] != self.length:
            self._flaw("gap", f"a delta begins at {delta['offset']} where the draft has {self.length}", delta)
            self.lost = True
        elif self.draft and self.draft[-1][0] == delta["channel"]:
            self.draft[-1] = (delta["channel"], self.draft[-1][1] + delta["text"])
        else:
            self.draft.append((delta["channel"], delta["text"]))

    def _arguments(self, delta: Frame) -> None:
        index, offset = delta.get("index") or 0, delta["offset"]
        if offset not in (0, self.arguments.get(index, 0)):
            self._flaw("gap", f"arguments begin at {offset} where there are {self.arguments.get(index, 0)}", delta)
        self.arguments[index] = offset + len(delta["text"])

    def _reset(self, reset: Frame) -> None:
        seq, offset = map(int, reset["cursor"].split("."))
        if seq < self.seq:
            self.draft = []
        self.events = {number: event for number, event in self.events.items() if number <= seq}
        restarts = [event for event in self.events.values() if event["kind"] == "turn_restarted"]
        self.attempts = {event["turn"]: event["data"]["attempt"] for event in restarts}
        kept, self.draft, self.arguments, self.lost = self.draft, [], {}, False
        for channel, text in kept:
            if offset > 0:
                self.draft.append((channel, text[:offset]))
            offset -= len(text)

    def _flaw(self, kind: Kind, message: str, frame: Frame) -> None:
        self.flaws.append(Flaw(kind, message, frame))


@dataclass
class Appended:
    """A client of `streaming_chat`, which can only append. `ending` is the last event's name, once there was one;
    `asks_again`: that was an error after which the same request gets the answer, or the rest of it."""

    plain: bool = False
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    ending: str | None = None
    asks_again: bool = False
    flaws: list[Flaw] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All pieces, joined; of plain text without an error at its end."""
        joined = "".join(self.pieces)
        return joined.partition(STATUS)[0] if self.plain else joined

    def reconnect(self) -> None:
        """It goes on where it was."""
        self.ending, self.asks_again = None, False

    def add(self, frame: Frame) -> None:
        """One more frame."""
        if self.plain:
            self._append(frame.get("text", ""))
            _, is_error, error = "".join(self.pieces[-9:]).partition(STATUS)
            self.asks_again = bool(is_error) and any(f"- {code}:" in error for code in AGAIN)
            return
        data: dict[str, Any] = frame.get("data", {})
        name = frame.get("event")
        if name is not None and name != "heartbeat" and self.ending is not None:
            self._flaw("order", f"{name} came after {self.ending}", frame)
        match name:
            case "token":
                if data["id"] != self.length:
                    self._flaw("gap", f"token {data['id']} came where {self.length} was due", frame)
                self._append(data["token"])
            case "turn_complete":
                if data["token"] != self.text:
                    self._flaw("gap", "the whole answer is not what its tokens make", frame)
            case "end" | "interrupted" | "error":
                self.ending = name
                self.asks_again = str(data.get("cause", "")).partition(":")[0] in AGAIN

    def _append(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)

    def _flaw(self, kind: Kind, message: str, frame: Frame) -> None:
        self.flaws.append(Flaw(kind, message, frame))
