"""A server's side of one conversation, as a play: what it tells anybody who comes at any moment with any cursor.

It shares no code with the client or the server: it is a third reading of PROTOCOL.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

ENDING = {"assistant_message", "turn_restarted", "turn_ended"}
Runs = list[tuple[str, str]]


@dataclass(frozen=True)
class Word:
    """A piece of the draft."""

    channel: str
    text: str


@dataclass(frozen=True)
class Happens:
    """An event."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Loss:
    """The process dies: of the draft, so many code points are stored."""

    kept: int


Moment = Word | Happens | Loss


@dataclass
class Play:
    """What is true after some of the moments."""

    events: list[dict[str, Any]] = field(default_factory=list)
    draft: Runs = field(default_factory=list)

    def go_on(self, moment: Moment, *, seen: tuple[int, int]) -> Iterator[dict[str, Any]]:
        """Let it happen, and tell it live to somebody who has seen all up to it: that many events and code points."""
        seq, offset = seen
        match moment:
            case Word(channel, text):
                self.draft.append((channel, text))
                yield delta(seq, offset, channel=channel, text=text)
            case Happens(kind, data):
                self.events.append({"kind": kind, "data": data})
                yield self._event(seq, offset=0 if kind in ENDING else offset)
                if kind in ENDING:
                    self.draft = []
            case Loss(kept):
                self.draft = cut(self.draft, kept)
                yield {"type": "reset", "cursor": f"{seq}.0"}
                yield from deltas(self.draft, seq=seq, after=0)

    def replay(self, cursor: str) -> Iterator[dict[str, Any]]:
        """What somebody lacks who comes with that cursor."""
        seq, offset = map(int, (cursor or "0.0").split("."))
        if self._ended_shorter(seq, than=offset):
            yield {"type": "reset", "cursor": f"{seq}.0"}
            offset = 0
        for number in range(seq, len(self.events)):
            offset = 0 if self.events[number]["kind"] in ENDING else offset
            yield self._event(number, offset=offset)
        if offset > self.length:
            yield {"type": "reset", "cursor": f"{len(self.events)}.0"}
            offset = 0
        yield from deltas(self.draft, seq=len(self.events), after=offset)
        yield {"type": "caught_up", "cursor": f"{len(self.events)}.{self.length}"}

    @property
    def length(self) -> int:
        return sum(len(text) for _, text in self.draft)

    def _ended_shorter(self, seq: int, *, than: int) -> bool:
        """Whether the draft that somebody knows from that position has become a message that is less than that."""
        end = next((event for event in self.events[seq:] if event["kind"] in ENDING), None)
        if end is None or end["kind"] != "assistant_message":
            return False
        length: int = sum(length for _, length in end["data"]["runs"])
        return length < than

    def _event(self, index: int, *, offset: int) -> dict[str, Any]:
        seq = index + 1
        event = {
            "type": "event",
            "seq": seq,
            "cursor": f"{seq}.{offset}",
            "turn": "t",
            "at": "2026-11-21T08:29:17.042Z",
        }
        return {**event, **self.events[index]}


def delta(seq: int, offset: int, *, channel: str, text: str) -> dict[str, Any]:
    """A frame of the draft."""
    cursor = f"{seq}.{offset + len(text)}"
    place = {"turn": "t", "attempt": 1, "hop": 0, "offset": offset}
    return {"type": "delta", "cursor": cursor, **place, "channel": channel, "text": text}


def deltas(draft: Runs, *, seq: int, after: int) -> Iterator[dict[str, Any]]:
    """The draft behind an offset."""
    at = 0
    for channel, text in draft:
        fresh = text[max(after - at, 0) :]
        if fresh:
            yield delta(seq, at + len(text) - len(fresh), channel=channel, text=fresh)
        at += len(text)


def cut(draft: Runs, length: int) -> Runs:
    """Its first code points."""
    kept: Runs = []
    for channel, text in draft:
        if length > 0:
            kept.append((channel, text[:length]))
        length -= len(text)
    return kept


def merged(runs: Iterable[tuple[str, str]]) -> Runs:
    """Without borders that mean nothing."""
    whole: Runs = []
    for channel, text in runs:
        if whole and whole[-1][0] == channel:
            whole[-1] = (channel, whole[-1][1] + text)
        elif text:
            whole.append((channel, text))
    return whole


def message(draft: Runs) -> Happens:
    """The draft as it is stored."""
    said = {name: "".join(text for channel, text in draft if channel == name) for name in ("text", "reasoning")}
    return Happens("assistant_message", {"hop": 0, **said, "runs": [[channel, len(text)] for channel, text in draft]})


words = st.builds(Word, st.sampled_from(["text", "reasoning"]), st.text("aé😀 \n", min_size=1, max_size=6))
asides = st.sampled_from([Happens("stats", {"n": 1}), Happens("from_the_future", {})])


@st.composite
def plays(draw: st.DrawFn) -> list[Moment]:
    """Some turns, the last of which may still be going on."""
    moments: list[Moment] = []
    for _ in range(draw(st.integers(1, 2))):
        moments.append(Happens("user_message", {"text": "?", "request_id": "r"}))
        for _ in range(draw(st.integers(1, 2))):
            moments += draw(hops())
        moments.append(Happens("turn_ended", {"status": "completed"}))
    return moments[: draw(st.integers(1, len(moments)))]


@st.composite
def hops(draw: st.DrawFn) -> list[Moment]:
    """Words with what may come between them, to the message that they become; perhaps begun again before that."""
    moments: list[Moment] = []
    said: Runs = []
    for word in draw(st.lists(words, max_size=5)):
        moments.append(word)
        said.append((word.channel, word.text))
        if draw(st.booleans()):
            moments.append(draw(asides))
    if draw(st.booleans()):  # the process dies, and nobody says more to this draft
        kept = draw(st.integers(0, sum(len(text) for _, text in said)))
        moments.append(Loss(kept))
        said = cut(said, kept)
    if draw(st.booleans()):
        moments.append(Happens("turn_restarted", {"attempt": 2, "hop": 0, "reason": "lost"}))
        again = draw(words)
        moments.append(again)
        said = [(again.channel, again.text)]
    return [*moments, message(said)]
