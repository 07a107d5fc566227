"""Where each turn stands and in which process, as the processes note it; what a fault at this instant would hit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tests.torture.notes import Note, Notes
from tests.torture.records import State

NOTED: Mapping[str, State] = {
    "queued": "queued",
    "asks": "between_hops",
    "speaks": "mid_text",
    "compacts": "compacting",
    "tools": "mid_tool",
    "stop heard": "stopping",
    "ended": "ended",
}
"""The state that begins with a note. Between hops: the model is asked, and has said nothing yet."""
BEGUN: tuple[State, ...] = ("queued", "between_hops")
"""What a turn is in that has been taken over, until it speaks."""
FORGET = 1.0
"""For how many seconds a note is believed that the database does not confirm."""


@dataclass
class Standing:
    """A turn, as the newest note about it says."""

    turn: str
    state: State
    pid: int
    at: float


Aim = Callable[[Standing], bool]


class States:
    """The states of all turns that are not over."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._turns: dict[str, Standing] = {}
        self._aims: dict[asyncio.Future[Standing], Aim] = {}

    async def follow(self) -> None:
        """Read the notes as they come; runs as long as the run."""
        while True:
            self.read()
            await asyncio.sleep(0.005 if self._aims else 0.02)

    def read(self) -> None:
        """Know what has been noted by now."""
        for note in self._notes.fresh():
            if note["what"] in NOTED:
                self._learn(note)

    def stop_asked(self, turn: str) -> None:
        """Somebody has asked for its end."""
        if turn in self._turns:
            self._turns[turn].state = "stopping"
            self._tell(self._turns[turn])

    def only(self, active: Collection[str]) -> None:
        """Forget turns that were ended by somebody who notes nothing: the database has these only."""
        old = time.time() - FORGET
        self._turns = {turn: known for turn, known in self._turns.items() if turn in active or known.at > old}

    def all(self) -> list[Standing]:
        """Every turn that is not over."""
        return list(self._turns.values())

    def now(self, turn: str) -> Standing | None:
        """Where a turn stands; None if it is over."""
        return self._turns.get(turn)

    def of(self, pid: int) -> list[Standing]:
        """Those that this process runs."""
        return [standing for standing in self.all() if standing.pid == pid]

    async def when(self, aim: Aim, *, patience: float) -> Standing | None:
        """A turn that is where is aimed at, or the next to come there; None if none does in so many seconds."""
        there = [turn for turn in self.all() if aim(turn)]
        if there:
            return max(there, key=lambda turn: turn.at)
        found: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self._aims[found] = aim
        try:
            async with asyncio.timeout(patience):
                return await found
        except TimeoutError:
            return None
        finally:
            del self._aims[found]

    def _learn(self, note: Note) -> None:
        turn, state = note["turn"], NOTED[note["what"]]
        if state == "ended":
            self._turns.pop(turn, None)
            return
        known = self._turns.get(turn)
        if known is not None and known.pid != note["pid"] and state in BEGUN:
            state = "taken_over"
        elif known is not None and (known.state == "stopping" or (known.state == "taken_over" and state in BEGUN)):
            state = known.state
        standing = self._turns[turn] = Standing(turn, state, note["pid"], note["at"])
        self._tell(standing)

    def _tell(self, standing: Standing) -> None:
        for found, aim in self._aims.items():
            if not found.done() and aim(standing):
                found.set_result(standing)
