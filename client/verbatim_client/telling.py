"""A conversation for who can only append, such as a terminal: every word once, whatever way it came; pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from verbatim_client.frames import Delta, Event, Frame, Reset
from verbatim_client.log import DRAFT_ENDING, Piece, clipped, position, runs_of


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was told of the reply in progress does not hold any more; what holds is told again."""


Told = Piece | Event | Withdrawn


class Telling:
    """Turns frames into pieces of text and events. An `assistant_message` brings what is missing of its text first."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._seq = 0

    def take(self, frame: Frame) -> Iterator[Told]:
        """What is new in it."""
        match frame:
            case Delta(channel="tool_arguments"):
                pass
            case Delta(channel=channel, text=text):
                yield from self._say([Piece(channel, text)])
            case Event():
                yield from self._event(frame)
            case Reset():
                yield from self._reset(frame)

    def _say(self, pieces: list[Piece]) -> Iterator[Told]:
        self._pieces += pieces
        yield from pieces

    def _event(self, event: Event) -> Iterator[Told]:
        self._seq = event.seq
        if event.kind == "assistant_message":
            yield from clipped(runs_of(event.data), start=self._length)
        if event.kind == "turn_restarted" and self._pieces:
            yield Withdrawn()
        if event.kind in DRAFT_ENDING:
            self._pieces = []
        yield event

    def _reset(self, reset: Reset) -> Iterator[Told]:
        seq, offset = position(reset.cursor)
        if seq >= self._seq and offset >= self._length:
            return
        kept = clipped(self._pieces, end=offset)
        self._pieces, self._seq = [], seq
        yield Withdrawn()
        yield from self._say(kept)

    @property
    def _length(self) -> int:
        return sum(len(piece.text) for piece in self._pieces)
