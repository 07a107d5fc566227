"""What everybody in a run shares: the cluster, the record of what happens, chance, and what is known of the turns."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import aiohttp

from tests.torture.cluster import CHAT, Cluster, Member
from tests.torture.history import Recorder
from tests.torture.machine import Machine
from tests.torture.records import Asking, Owned, Record, Starved, TurnRow
from tests.torture.rows import Rows
from tests.torture.states import States

if TYPE_CHECKING:
    from tests.torture.talks import Talk

OWNER = "ada"
LOOK, FEEL = 0.25, 1.0
"""How often the rows of the turns are looked at, and how busy the machine is, in seconds."""
PATIENT: float = 4 * CHAT["HEARTBEAT"]
"""After so many seconds without a sign of life a viewer goes elsewhere, and complains."""


@dataclass
class World:
    """One run, from the first order to the last look."""

    cluster: Cluster
    recorder: Recorder
    rows: Rows
    states: States
    http: aiohttp.ClientSession
    chance: Random
    scripts: tuple[str, ...] = ()
    """What the provider is asked for; empty: anything."""
    seen: dict[str, str] = field(default_factory=dict)
    """The turns whose messages viewers have seen, by their request ids."""
    watched: set[str] = field(default_factory=set)
    """The turns whose end is waited for."""
    over: set[str] = field(default_factory=set)
    """Those of them that have ended."""
    owned: dict[str, Owned] = field(default_factory=dict)
    talks: list[Talk] = field(default_factory=list)
    tasks: set[asyncio.Task[object]] = field(default_factory=set)
    """What goes on beside the talks."""
    chores: list[asyncio.Task[None]] = field(default_factory=list)
    late: deque[float] = field(default_factory=lambda: deque(maxlen=round(10 / FEEL)))
    asking: Counter[str] = field(default_factory=Counter)
    """Who is owed an answer."""
    lost: float = 0.0
    """For how many seconds in all this machine was busy with something else."""
    held_up: float = 0.0
    """For how many of ten seconds, at worst, this machine was busy with something else; `late`: of the last ten."""
    is_over: bool = False
    """No new orders."""

    @property
    def headers(self) -> dict[str, str]:
        """How its user says who they are."""
        return {"Authorization": f"Bearer {self.cluster.key}"}

    def note(self, record: Record, *, at: float | None = None) -> None:
        """Write it into the history."""
        self.recorder.add(record, at=at)

    @contextmanager
    def asks(self, viewer: str, *, turn: str | None = None) -> Iterator[None]:
        """In the block somebody asks, and does not stop before there is an answer."""
        self.note(Asking(viewer=viewer, turn=turn))
        self.asking[viewer] += 1
        try:
            yield
        finally:
            self.asking[viewer] -= 1

    async def somebody(self, *, but: Member | None = None) -> Member:
        """A member that can be expected to answer, preferably another one than that."""
        while not (up := self.cluster.up):  # noqa: ASYNC110 -- one will be back
            await asyncio.sleep(0.1)
        others = [member for member in up if member is not but]
        return self.chance.choice(others or up)

    def talk_about(self, turn: str) -> Talk | None:
        """The conversation in which this turn is the newest."""
        return next((talk for talk in reversed(self.talks) if turn in talk.turns[-1:]), None)

    async def look(self) -> None:
        """Follow the rows of the turns; runs as long as the run."""
        while True:
            with suppress(OSError):  # the database is away for a while: that is what happens here
                self._learn(await self.rows.turns(self.watched - self.over))
            await asyncio.sleep(LOOK)

    @property
    def patience(self) -> float:
        """How long a viewer waits for a sign of life."""
        return PATIENT + sum(self.late)

    def patient(self, seconds: float) -> Callable[[], bool]:
        """Whether so many seconds, of those in which this machine had time for this run, are not yet over."""
        until = time.monotonic() - self.lost + seconds
        return lambda: time.monotonic() - self.lost < until

    async def feel(self) -> None:
        """Measure how busy the machine is with something else; runs as long as the run."""
        machine = Machine()
        while True:
            began = time.time()
            await asyncio.sleep(FEEL)
            self.late.append(machine.waited(self.cluster.pids))
            self.lost += self.late[-1]
            self.held_up = max(self.held_up, sum(self.late))
            self.note(Starved(began=began, seconds=round(self.late[-1], 3)))

    def _learn(self, turns: list[TurnRow]) -> None:
        self.states.only({turn.id for turn in turns if turn.status in ("queued", "running", "stopping")})
        for turn in turns:
            if turn.status in ("completed", "cancelled", "failed"):
                self.over.add(turn.id)
                continue
            process = self.cluster.process_of(turn.engine)
            owned = Owned(turn=turn.id, attempt=turn.attempt, status=turn.status, process=process)
            if turn.status == "stopping":
                self.states.stop_asked(turn.id)
            if self.owned.get(turn.id) != owned:
                self.owned[turn.id] = owned
                self.note(owned)

    async def ended(self, turn: str, *, patience: float) -> bool:
        """Whether the turn ends within so many seconds."""
        self.watched.add(turn)
        has_time = self.patient(patience)
        while turn not in self.over and has_time():  # noqa: ASYNC110 -- rows tell nobody
            await asyncio.sleep(0.05)
        self.watched.discard(turn)
        return turn in self.over


async def lines_of(response: aiohttp.ClientResponse, *, world: World) -> AsyncIterator[bytes]:
    """The lines of an answer. Raises `TimeoutError` if there is no sign of life for too long."""
    while True:
        async with asyncio.timeout(world.patience):
            line = await response.content.readline()
        if not line:
            return
        yield line
