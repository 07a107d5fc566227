"""The fold: frames become the log of one conversation, its events and the draft after them; pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from verbatim_client.errors import BadFrame
from verbatim_client.frames import CaughtUp, Delta, Event, Frame, Heartbeat, Reset

DRAFT_ENDING = frozenset({"assistant_message", "turn_restarted", "turn_ended"})


class Piece(NamedTuple):
    """A stretch of what a model says; `channel` is `text` or `reasoning`."""

    channel: str
    text: str


@dataclass(slots=True)
class Call:
    """A tool call whose arguments are still coming."""

    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Draft:
    """The reply of hop `hop` so far, in order of arrival. `length` counts code points of all pieces."""

    turn: str
    attempt: int
    hop: int
    pieces: list[Piece] = field(default_factory=list)
    length: int = 0
    calls: dict[int, Call] = field(default_factory=dict)

    def said(self, channel: str = "text") -> str:
        """All that came on this channel."""
        return "".join(piece.text for piece in self.pieces if piece.channel == channel)

    def add(self, delta: Delta) -> None:
        """Take a fragment that goes at the end."""
        self.pieces.append(Piece(delta.channel, delta.text))
        self.length += len(delta.text)

    def copy(self) -> Draft:
        """As it is now."""
        calls = {index: replace(call) for index, call in self.calls.items()}
        return replace(self, pieces=list(self.pieces), calls=calls)

    def cut(self, length: int) -> None:
        """Keep only so many code points, and no unfinished calls."""
        self.pieces, self.length = clipped(self.pieces, end=length), min(length, self.length)
        self.calls = {}


@dataclass(slots=True)
class Log:
    """What a client knows of a conversation. After every frame it equals what a fresh client gets."""

    events: list[Event] = field(default_factory=list)
    draft: Draft | None = None
    cursor: str = ""
    """Where to go on after a lost connection; empty: from the beginning."""
    is_caught_up: bool = False

    def add(self, frame: Frame) -> Frame | None:
        """Take a frame; what is new in it, or None. Raises `BadFrame` for one that does not follow what is here."""
        match frame:
            case Event():
                return self._event(frame)
            case Delta(channel="tool_arguments"):
                return self._arguments(frame)
            case Delta():
                return self._delta(frame)
            case Reset():
                self._withdraw(frame.cursor)
            case CaughtUp():
                self.is_caught_up = True
                self.cursor = frame.cursor
            case Heartbeat():
                self.cursor = frame.cursor
        return frame  # the cursor of `accepted` comes from beside the stream: it may be ahead of what is here

    def reconnected(self) -> None:
        """Forget unfinished tool arguments: they come again from 0, or not at all."""
        self.is_caught_up = False
        if self.draft is not None:
            self.draft.calls = {}

    def copy(self) -> Log:
        """As it is now."""
        return replace(self, events=list(self.events), draft=self.draft.copy() if self.draft is not None else None)

    @property
    def active_turn(self) -> str | None:
        """The turn that is being answered."""
        for event in reversed(self.events):
            if event.kind == "turn_ended":
                return None
            if event.kind == "user_message":
                return event.turn
        return None

    def of_turn(self, turn: str, *, kind: str | None = None) -> list[Event]:
        """The events of a turn."""
        return [event for event in self.events if event.turn == turn and kind in (None, event.kind)]

    def replay(self, *, after: int) -> Iterator[Frame]:
        """Frames that bring someone who has the events up to number `after`, and no draft, to where this log is."""
        yield from self.events[after:]
        if self.draft is None:
            return
        offset = 0
        turn, attempt, hop = self.draft.turn, self.draft.attempt, self.draft.hop
        for channel, text in self.draft.pieces:
            yield Delta(
                cursor=self.cursor, turn=turn, attempt=attempt, hop=hop, offset=offset, channel=channel, text=text
            )
            offset += len(text)

    def _event(self, event: Event) -> Event | None:
        if event.seq <= len(self.events):
            return None
        if event.seq > len(self.events) + 1:
            raise BadFrame(f"event {event.seq} came after {len(self.events)}")
        self.events.append(_kept(event))
        self.cursor = event.cursor
        if event.kind in DRAFT_ENDING:
            self.draft = None
        return event

    def _delta(self, delta: Delta) -> Delta | None:
        length = self.draft.length if self.draft is not None else 0
        if delta.offset > length:
            raise BadFrame(f"text at {delta.offset} came after {length}")
        fresh = replace(delta, offset=length, text=delta.text[length - delta.offset :])
        if not fresh.text:
            return None
        self._draft_of(delta).add(fresh)
        self.cursor = delta.cursor
        return fresh

    def _arguments(self, delta: Delta) -> Delta | None:
        call = self._draft_of(delta).calls.setdefault(delta.index or 0, Call())
        call.name = delta.name or call.name
        if delta.offset != len(call.arguments):
            return None  # of a call whose beginning was lost with a connection, nothing is shown
        call.arguments += delta.text
        return delta

    def _draft_of(self, delta: Delta) -> Draft:
        if self.draft is None:
            self.draft = Draft(turn=delta.turn, attempt=delta.attempt, hop=delta.hop)
        return self.draft

    def _withdraw(self, cursor: str) -> None:
        seq, offset = position(cursor)
        withdrawn, self.events = self.events[seq:], self.events[:seq]
        if any(event.kind in DRAFT_ENDING for event in withdrawn) or not offset:
            self.draft = None
        elif self.draft is not None:
            self.draft.cut(offset)
        self.cursor = cursor


def _kept(event: Event) -> Event:
    """What is remembered: not what a model was sent and answered, all over again for each of its calls."""
    if event.kind != "completion_log" or "content" not in event.data:
        return event
    return replace(event, data={name: value for name, value in event.data.items() if name != "content"})


def position(cursor: str) -> tuple[int, int]:
    """The number of events and the offset for which a `reset`'s cursor stands. Raises `BadFrame`."""
    seq, _, offset = cursor.partition(".")
    if not (seq.isdecimal() and offset.isdecimal()):
        raise BadFrame(f"{cursor!r} is no cursor")
    return int(seq), int(offset)


def runs_of(message: dict[str, Any]) -> list[Piece]:
    """The draft that became this `assistant_message`, by its `runs`."""
    at = {"text": 0, "reasoning": 0}
    pieces: list[Piece] = []
    for channel, length in message.get("runs", ()):
        begin = at[channel]
        pieces.append(Piece(channel, message.get(channel, "")[begin : begin + length]))
        at[channel] += length
    return pieces


def clipped(pieces: list[Piece], *, start: int = 0, end: int | None = None) -> list[Piece]:
    """The code points from `start` to `end`."""
    kept: list[Piece] = []
    for channel, text in pieces:
        piece = text[max(start, 0) : None if end is None else max(end, 0)]
        if piece:
            kept.append(Piece(channel, piece))
        start, end = start - len(text), None if end is None else end - len(text)
    return kept
