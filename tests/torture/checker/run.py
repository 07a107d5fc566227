"""A history by what one asks it for: turns with their events, owners and calls; processes with their absences."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from math import inf
from typing import NamedTuple

from tests.torture.checker.verdict import Bounds
from tests.torture.history import History
from tests.torture.records import (
    Called,
    ConversationRow,
    EventRow,
    Exited,
    Fault,
    Hit,
    Owned,
    Record,
    Started,
    Starved,
    StopAsked,
    ToolRan,
    TurnRow,
)

ACTIVE = {"queued", "running", "stopping"}
TOLD = ("sigterm", "sigint")
"""The faults in which a process is told to end."""
_STAMP = re.compile(r"@(\d{16})(?= |$)")


class Span(NamedTuple):
    """From when to when, in seconds since the epoch."""

    began: float
    ended: float

    def overlaps(self, began: float, ended: float) -> bool:
        """Whether they share an instant."""
        return self.began <= ended and began <= self.ended

    @property
    def length(self) -> float:
        """In seconds."""
        return self.ended - self.began


class Call(NamedTuple):
    """A request to the provider, and what its call id says."""

    turn: str
    attempt: int
    hop: int
    record: Called

    @property
    def span(self) -> Span:
        return Span(self.record.began, inf if self.record.ended is None else self.record.ended)


class Run:
    """A history and its bounds."""

    def __init__(self, history: History, *, bounds: Bounds) -> None:
        self.history = history
        self.bounds = bounds

    @cached_property
    def conversations(self) -> dict[str, ConversationRow]:
        return {row.id: row for row in self.history.of(ConversationRow)}

    @cached_property
    def turns(self) -> dict[str, TurnRow]:
        return {row.id: row for row in self.history.of(TurnRow)}

    @cached_property
    def log(self) -> dict[str, list[EventRow]]:
        """Each conversation's events, by number."""
        log: dict[str, list[EventRow]] = {conversation: [] for conversation in self.conversations}
        for event in sorted(self.history.of(EventRow), key=lambda event: event.seq):
            log.setdefault(event.conversation, []).append(event)
        return log

    @cached_property
    def _of_turn(self) -> dict[str, list[EventRow]]:
        of_turn: dict[str, list[EventRow]] = defaultdict(list)
        for events in self.log.values():
            for event in events:
                if event.turn is not None:
                    of_turn[event.turn].append(event)
        return of_turn

    def events(self, turn: str, *kinds: str) -> list[EventRow]:
        """A turn's events of these kinds, or all, in order."""
        return [event for event in self._of_turn.get(turn, []) if not kinds or event.kind in kinds]

    def end(self, turn: str) -> EventRow | None:
        """Its `turn_ended`."""
        return next(iter(self.events(turn, "turn_ended")), None)

    def lasted(self, turn: str) -> Span:
        """From its first event to its end."""
        events, end = self.events(turn), self.end(turn)
        return Span(events[0].stored if events else 0.0, end.stored if end else inf)

    def locks(self, turn: str) -> list[Span]:
        """When somebody else held its row, or its conversation's."""
        return self.faults("lock", on=[turn, self.turns[turn].conversation])

    def said(self, turn: str) -> str:
        """All that the model said in this turn, as it is stored."""
        return "".join(event.data.get("text", "") for event in self.events(turn, "assistant_message"))

    @cached_property
    def calls(self) -> dict[str, list[Call]]:
        """Each turn's requests to the provider, as they began."""
        calls: dict[str, list[Call]] = defaultdict(list)
        for record in sorted(self.history.of(Called), key=lambda record: record.began):
            if match := re.match(r"([^:]+):(\d+):(\d+)(:|$)", record.call_id):
                calls[match[1]].append(Call(match[1], int(match[2]), int(match[3]), record))
        return calls

    @cached_property
    def executions(self) -> dict[tuple[str, int, int], list[ToolRan]]:
        """What was noted of each tool call, in order."""
        notes: dict[tuple[str, int, int], list[ToolRan]] = defaultdict(list)
        for note in sorted(self.history.of(ToolRan), key=lambda note: note.at):
            notes[note.turn, note.hop, note.index].append(note)
        return notes

    @cached_property
    def stops(self) -> dict[str, list[StopAsked]]:
        stops: dict[str, list[StopAsked]] = defaultdict(list)
        for stop in self.history.of(StopAsked):
            stops[stop.turn].append(stop)
        return stops

    @cached_property
    def _owned(self) -> dict[str, list[Owned]]:
        owned: dict[str, list[Owned]] = defaultdict(list)
        for seen in self.history.of(Owned):
            owned[seen.turn].append(seen)
        return owned

    @cached_property
    def _hits(self) -> dict[str, list[Hit]]:
        hits: dict[str, list[Hit]] = defaultdict(list)
        for hit in self.history.of(Hit):
            hits[hit.turn].append(hit)
        return hits

    def owner_at(self, turn: str, time: float) -> str | None:
        """Who was seen last to run it by then; null: nobody, or unknown."""
        seen = [owned.process for owned in self._owned.get(turn, []) if owned.at <= time]
        return seen[-1] if seen else None

    def owner_on(self, turn: str, attempt: int) -> str | None:
        """Who was seen to run it on this attempt."""
        seen = [owned.process for owned in self._owned.get(turn, []) if owned.attempt == attempt and owned.process]
        return seen[0] if seen else None

    def owners(self, turn: str) -> set[str]:
        """All who were seen to run it, for however short a time."""
        owners = {owned.process for owned in self._owned.get(turn, ()) if owned.process}
        return owners | {hit.process for hit in self._hits.get(turn, ()) if hit.process}

    @cached_property
    def lives(self) -> dict[str, Span]:
        """Each process, from when it was ready to when it was gone."""
        ends = {exited.process: exited.at for exited in self.history.of(Exited)}
        kills = {fault.target: fault.began for fault in self.history.of(Fault) if fault.kind == "kill"}
        return {
            started.process: Span(started.at, min(ends.get(started.process, inf), kills.get(started.process, inf)))
            for started in self.history.of(Started)
        }

    def faults(self, *kinds: str, on: Iterable[str] = ()) -> list[Span]:
        """The times of faults of these kinds (or whose kind begins so), of any target or of these."""
        targets = set(on)
        return [
            Span(fault.began, inf if fault.ended is None else fault.ended)
            for fault in self.history.of(Fault)
            if fault.kind.startswith(kinds or "")
            if not targets or targets & {fault.target, fault.peer}
        ]

    def partitions(self, one: str, other: str) -> list[Span]:
        """When these two could not reach each other."""
        return [
            Span(fault.began, inf if fault.ended is None else fault.ended)
            for fault in self.history.of(Fault)
            if fault.kind == "partition" and {fault.target, fault.peer} == {one, other}
        ]

    def pauses(self, process: str) -> list[Span]:
        """When it could not reach the database, or do anything."""
        return self.faults("sigstop", on=[process]) + self.partitions(process, "postgres")

    def absences(self, process: str | None) -> list[Span]:
        """When its turns may be lost to it: while it ends, is gone, or pauses. If it is unknown, those of all, each for
        as long as it takes until somebody else has its turns."""
        if process is None:
            spans = [span for known in self.lives for span in self.absences(known)]
            return [Span(span.began, min(span.ended, span.began + self.bounds.takeover)) for span in spans]
        told = [Span(span.began, inf) for span in self.faults(*TOLD, "kill", on=[process])]
        gone = [Span(life.ended, inf) for life in [self.lives.get(process)] if life and life.ended < inf]
        return told + gone + self.pauses(process)

    def starved(self, began: float, ended: float) -> float:
        """For how many seconds of that time the machine was busy with something else: so much later may anything be."""
        return sum(
            sample.seconds
            for sample in self._samples[
                bisect_left(self._samples, began, key=_at) : bisect_left(self._samples, ended, key=_at) + 1
            ]
        )

    @cached_property
    def _samples(self) -> list[Starved]:
        return sorted(self.history.of(Starved), key=_at)

    def undisturbed(self, process: str, *, within: Span) -> list[Span]:
        """The stretches of that time in which it ran, with a database."""
        life = self.lives[process]
        if not life.overlaps(*within):
            return []
        stretches = [Span(max(life.began, within.began), min(life.ended, within.ended))]
        faults = self.faults("postgres") + self.pauses(process)
        faults += [Span(told.began, inf) for told in self.faults(*TOLD, on=[process])]
        for fault in faults:
            stretches = [
                piece
                for stretch in stretches
                for piece in (
                    Span(stretch.began, min(stretch.ended, fault.began)),
                    Span(max(stretch.began, fault.ended), stretch.ended),
                )
                if piece.length > 0
            ]
        return stretches


def _at(record: Record) -> float:
    return record.at


def stamps(text: str) -> list[float]:
    """When the words of a text were said, in seconds since the epoch."""
    return [int(stamp) / 1e6 for stamp in _STAMP.findall(text)]


def unstamped(text: str) -> str:
    """The words without their stamps."""
    return _STAMP.sub("", text)
