"""The reply of the hop in progress, as it arrives; pure. The engine appends, viewers and the writer read behind it.

Appending is safe beside readers in other threads: parts are only ever added, and a reader takes the list's length once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from history.events import AssistantMessage, Channel


class Part(msgspec.Struct, frozen=True, gc=False):
    """One fragment. `start` counts the draft's code points before it. Fragments of tool arguments are not counted:
    `call` says of which call they are, and `within` how far into its arguments.

    A process holds very many of them, and none is in a cycle: the garbage collector need not look."""

    start: int
    channel: str
    text: str
    call: int | None = None
    within: int = 0
    name: str | None = None


class Stretch(NamedTuple):
    """Text that is to be stored: from code point `start`, with the channel and length of each run in it."""

    start: int
    text: str
    runs: tuple[tuple[Channel, int], ...]


class Draft:
    """Text, reasoning and tool arguments of one hop. `after_seq` is an event before it, after the one that ended the
    draft before."""

    __slots__ = ("_arguments", "after_seq", "attempt", "conversation_id", "hop", "length", "parts", "stored",
                 "stored_parts", "turn_id")  # fmt: skip

    def __init__(self, conversation_id: UUID, *, turn_id: UUID, attempt: int, hop: int, after_seq: int) -> None:
        self.conversation_id = conversation_id
        self.turn_id = turn_id
        self.attempt = attempt
        self.hop = hop
        self.after_seq = after_seq
        self.parts: list[Part] = []
        self.length = 0
        self.stored = 0
        self.stored_parts = 0
        self._arguments: dict[int, int] = {}

    def continues(self, other: Draft) -> bool:
        """Whether it is of the same attempt at the same hop."""
        return (self.turn_id, self.attempt, self.hop) == (other.turn_id, other.attempt, other.hop)

    def append(self, channel: Channel, text: str) -> None:
        """Add a fragment of text or reasoning."""
        self.parts.append(Part(self.length, channel, text))
        self.length += len(text)

    def append_arguments(self, index: int, text: str, *, name: str | None) -> None:
        """Add a fragment of call `index`'s arguments: shown while it comes, never stored."""
        within = self._arguments.get(index, 0)
        self._arguments[index] = within + len(text)
        self.parts.append(Part(self.length, "tool_arguments", text, index, within, name))

    def unstored(self) -> tuple[Stretch, int] | None:
        """What is not stored yet, and the count of parts up to there; None if there is nothing to store."""
        upto = len(self.parts)
        fresh = [
            part for part in self.parts[self.stored_parts : upto] if part.text and part.channel != "tool_arguments"
        ]
        if not fresh:
            return None
        text = "".join(part.text for part in fresh)
        runs = counted_runs(fresh)
        return Stretch(fresh[0].start, text, runs), upto

    @property
    def said(self) -> int:
        """Code points of all that has come, of tool arguments too."""
        return self.length + sum(self._arguments.values())

    def text_of(self, channel: Channel) -> str:
        """All of one channel."""
        return "".join(part.text for part in self.parts if part.channel == channel)

    def message(self, finish_reason: str | None) -> AssistantMessage:
        """What was said, as the log keeps it of a hop that broke off."""
        return AssistantMessage(
            hop=self.hop,
            text=self.text_of("text"),
            reasoning=self.text_of("reasoning"),
            finish_reason=finish_reason,
            runs=self.runs(),
        )

    def runs(self) -> tuple[tuple[Channel, int], ...]:
        """Channel and length of each stretch, in order of arrival."""
        return counted_runs(self.parts)

    def mark_stored(self, *, parts: int, length: int) -> None:
        """The first `parts` parts, `length` code points in all, are in the database."""
        self.stored_parts = parts
        self.stored = length

    def part_at(self, offset: int) -> int:
        """The number of the first part that a viewer with `offset` code points lacks. Arguments that arrived at just
        this offset are among what it lacks."""
        starts = self.parts
        at = bisect_right(starts, offset - 1, key=lambda part: part.start)
        if at and starts[at - 1].channel != "tool_arguments" and _end(starts[at - 1]) > offset:
            at -= 1
        return at


def merge_runs(runs: Iterable[tuple[Channel, int]]) -> tuple[tuple[Channel, int], ...]:
    """Neighbouring runs of one channel as one."""
    merged: list[tuple[Channel, int]] = []
    for channel, length in runs:
        if merged and merged[-1][0] == channel:
            merged[-1] = (channel, merged[-1][1] + length)
        elif length:
            merged.append((channel, length))
    return tuple(merged)


def counted_runs(parts: Iterable[Part]) -> tuple[tuple[Channel, int], ...]:
    """The runs of what counts among these parts: text and reasoning."""
    counted = ((part.channel, len(part.text)) for part in parts if part.channel != "tool_arguments")
    return merge_runs(counted)  # type: ignore[arg-type]


def _end(part: Part) -> int:
    return part.start + len(part.text)
