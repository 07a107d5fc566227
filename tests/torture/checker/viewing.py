"""Each viewer of a run with all of its connections, and what it had in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from tests.torture.checker.folding import Appended, Flaw, Native
from tests.torture.checker.run import Run, Span
from tests.torture.records import Connected, Disconnected, Frame, Quiescent, Received


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
class Life:
    """What a viewer made of the frames of these connections. Whoever comes without a cursor begins a new one."""

    folded: Native | Appended
    connections: list[Connection]

    @property
    def ended(self) -> Disconnected | None:
        """How its last connection ended."""
        return self.connections[-1].ended


@dataclass
class Viewer:
    """Somebody who looks at a conversation or turn. What it has is what its last life folded."""

    name: str
    lives: list[Life]

    @property
    def connections(self) -> list[Connection]:
        return [connection for life in self.lives for connection in life.connections]

    @property
    def folded(self) -> Native | Appended:
        return self.lives[-1].folded

    @property
    def flaws(self) -> list[Flaw]:
        """What was wrong at any time."""
        return [flaw for life in self.lives for flaw in life.folded.flaws]

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
    """All viewers of a run, as they are when it is quiet; that they go after that is nobody's loss."""
    connections: dict[str, list[Connection]] = {}
    for record in run.history.records:
        match record:
            case Connected():
                connections.setdefault(record.viewer, []).append(Connection(record))
            case Received():
                connections[record.viewer][-1].frames.append(record)
            case Disconnected():
                connections[record.viewer][-1].ended = record
            case Quiescent():
                break
    return [Viewer(name, _lives(run, of_viewer)) for name, of_viewer in connections.items()]


def fresh(frames: list[Frame]) -> Native:
    """What a new viewer of a whole conversation makes of these frames."""
    native = Native()
    for frame in frames:
        native.add(frame)
    return native


def _lives(run: Run, connections: list[Connection]) -> list[Life]:
    lives: list[Life] = []
    for connection in connections:
        if lives and connection.opened.cursor:
            lives[-1].connections.append(connection)
        else:
            lives.append(Life(_nothing(run, connection.opened), [connection]))
        lives[-1].folded.reconnect()
        for received in connection.frames:
            lives[-1].folded.add(received.frame)
    return lives


def _nothing(run: Run, opened: Connected) -> Native | Appended:
    if opened.transport in ("streaming_chat", "text"):
        return Appended(plain=opened.transport == "text")
    return Native(visible=[event.seq for event in run.events(opened.turn)] if opened.turn else None)
