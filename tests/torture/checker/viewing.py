"""Each viewer of a run with all of its connections, and what it had in the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tests.torture.checker.folding import Appended, Flaw, Native
from tests.torture.checker.run import Run, Span
from tests.torture.records import Connected, Disconnected, Frame, Received


@dataclass
class Connection:
    """From when a viewer was let in to when it was out again; `ended` stays null for one that lasts."""

    opened: Connected
    frames: list[Received] = field(default_factory=list)
    ended: Disconnected | None = None

    def span(self, run: Run) -> Span:
        """From when to when it was open."""
        return Span(self.opened.at, self.ended.at if self.ended else run.history.ended)


@dataclass
class Viewer:
    """Somebody who looks at a conversation or turn. `folded` is what it has; `flaws` what was wrong at any time."""

    name: str
    connections: list[Connection]
    folded: Native | Appended
    flaws: list[Flaw]

    @property
    def first(self) -> Connected:
        return self.connections[0].opened

    @property
    def is_native(self) -> bool:
        """Whether it speaks the native protocol."""
        return isinstance(self.folded, Native)

    @property
    def turn(self) -> str | None:
        """The one turn that it looks at."""
        return next((connection.opened.turn for connection in self.connections if connection.opened.turn), None)

    @property
    def is_here(self) -> bool:
        """Its last connection lasts."""
        return self.connections[-1].ended is None

    @property
    def has_left(self) -> bool:
        """It went for good, and nobody owes it anything."""
        ended = self.connections[-1].ended
        return ended is not None and ended.how == "left"


@lru_cache(maxsize=1)
def viewers(run: Run) -> list[Viewer]:
    """All viewers of a run."""
    connections: dict[str, list[Connection]] = {}
    for record in run.history.records:
        match record:
            case Connected():
                connections.setdefault(record.viewer, []).append(Connection(record))
            case Received():
                connections[record.viewer][-1].frames.append(record)
            case Disconnected():
                connections[record.viewer][-1].ended = record
    return [_viewer(run, name, of_viewer) for name, of_viewer in connections.items()]


def fresh(frames: list[Frame]) -> Native:
    """What a new viewer of a whole conversation makes of these frames."""
    native = Native()
    for frame in frames:
        native.add(frame)
    return native


def _viewer(run: Run, name: str, connections: list[Connection]) -> Viewer:
    lives = list(_lives(run, connections))
    return Viewer(name, connections, lives[-1], [flaw for life in lives for flaw in life.flaws])


def _lives(run: Run, connections: list[Connection]) -> Iterator[Native | Appended]:
    """What it had in the end of each of its lives: whoever comes without a cursor begins a new one."""
    folded: Native | Appended | None = None
    for connection in connections:
        if folded is None or not connection.opened.cursor:
            if folded is not None:
                yield folded
            folded = _nothing(run, connection.opened)
        else:
            folded.reconnect()
        for received in connection.frames:
            folded.add(received.frame)
    if folded is not None:
        yield folded


def _nothing(run: Run, opened: Connected) -> Native | Appended:
    if opened.transport in ("streaming_chat", "text"):
        return Appended(plain=opened.transport == "text")
    return Native(visible=[event.seq for event in run.events(opened.turn)] if opened.turn else None)
