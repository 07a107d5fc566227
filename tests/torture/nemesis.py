"""The one who breaks things: by chance, but seeded, and where it has broken least so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial

from tests.torture.cells import AIMED, Cell, Cells
from tests.torture.cluster import Member
from tests.torture.faults import GONE, Faults
from tests.torture.records import State
from tests.torture.states import Standing
from tests.torture.world import World

AIMING = 1.0
"""How long it waits for a turn to come where it aims, in seconds."""
HARMLESS = ("cut", "retry", "stop", "lock", "provider")
"""What does nothing to processes."""
PROVOKED: Mapping[State, str] = {"stopping": "stop", "taken_over": "kill"}
"""The states that hardly any turn comes to by itself, and the fault that brings one there."""
STILL = (0.0, 0.3)
"""How long it rests between two faults."""
CALM, CALMLY = 7.0, 0.2
"""For how long a store is left alone after some of its faults, so that it can be seen to heal, and after how many of
them; after the others for as long as they lasted, so that turns come about at all."""


class Nemesis:
    """Looks for the emptiest cell, and waits for a turn to come to its state."""

    def __init__(
        self, world: World, *, faults: Collection[str] = (), states: Collection[State] = (), goal: int = 0
    ) -> None:
        self.world = world
        self._faults = Faults(world, met=self._met)
        chosen = [name for name in self._faults.known if not faults or name in faults]
        self._with_last = not faults or GONE in faults
        self.cells = Cells(chosen, states=states, goal=goal)
        self.met: set[str] = set()
        """The turns that were hit."""
        self._busy: set[str] = set()
        self._lasting: set[asyncio.Task[None]] = set()

    async def rage(self) -> None:
        """Fault after fault, until it is cancelled; what lasts then is healed by `rest`."""
        while True:
            strike = await self._aim(self.cells.emptiest(self._free())) or await self._aim(self.cells.open)
            if strike is not None:
                self._begin(*strike)
            await self._past()
            await asyncio.sleep(self.world.chance.uniform(*STILL))

    async def rest(self) -> None:
        """When this returns, nothing is broken any more."""
        await asyncio.gather(*self._lasting)

    async def last(self) -> None:
        """What is broken for good, if that is wanted: the run ends without it."""
        if self._with_last and self.world.cluster.redis is not None:
            await self._faults.redis_is_gone()

    def _met(self, name: str, turn: Standing) -> None:
        self.cells.hits[name, turn.state] += 1
        self.met.add(turn.turn)

    async def _past(self) -> None:
        """Forget what is over; raises what went wrong with it."""
        over = {work for work in self._lasting if work.done()}
        self._lasting -= over
        await asyncio.gather(*over)

    async def _aim(self, cells: Collection[Cell]) -> tuple[str, Standing, Member] | None:
        """One of these cells, as soon as a turn comes to its state, or a little later; None if none does in time, or
        if it has gone on meanwhile."""
        wanted = frozenset(cells)
        self._provoke({state for _, state in wanted})
        target = await self.world.states.when(partial(self._is_wanted, wanted), patience=AIMING)
        if target is None:
            return None
        await asyncio.sleep(self.world.chance.uniform(0, AIMED[target.state]))
        now = self.world.states.now(target.turn)
        names = list(self._strikes(now, wanted)) if now is not None else []
        if now is None or not names:
            return None
        member = self.world.cluster.owner_of(now.pid)
        assert member is not None
        return min(names, key=lambda name: self.cells.hits[name, now.state]), now, member

    def _provoke(self, states: Collection[State]) -> None:
        """Bring a turn to where one is wanted, if none comes there by itself and nothing befalls a process just now."""
        there = self.world.states.all()
        able = [(turn, member) for turn in there if (member := self._at(turn))]
        missing = (states & PROVOKED.keys()) - {turn.state for turn in there}
        if not able or len(states) == len(AIMED):
            return
        for fault in {PROVOKED[state] for state in missing} & set(self.cells.faults):
            if fault in HARMLESS or not any(member.name in self._busy for member in self.world.cluster.members):
                self._begin(fault, *self.world.chance.choice(able))

    def _is_wanted(self, cells: frozenset[Cell], turn: Standing) -> bool:
        return any(self._strikes(turn, cells))

    def _strikes(self, turn: Standing, cells: frozenset[Cell]) -> Iterator[str]:
        """What may befall this turn now, of these cells."""
        member = self._at(turn)
        names = [name for name, state in cells if state == turn.state] if member is not None else []
        self.world.chance.shuffle(names)
        return (name for name in names if member is not None and self._is_free(name, member))

    def _at(self, turn: Standing) -> Member | None:
        """The member that runs it, if nothing has befallen that."""
        member = self.world.cluster.owner_of(turn.pid)
        return member if member is not None and member.is_up and member.name not in self._busy else None

    def _free(self) -> set[str]:
        """The faults that may befall somebody now."""
        return {
            name for name in self.cells.faults if any(self._is_free(name, member) for member in self.world.cluster.up)
        }

    def _is_free(self, name: str, member: Member) -> bool:
        """Whether this may befall it now. One process at least goes on undisturbed, and one thing happens to a store
        at a time."""
        if name in HARMLESS:
            return True
        if (store := _store(name)) is not None:
            return store not in self._busy
        well = [other for other in self.world.cluster.up if other.name not in self._busy]
        return member in well and len(well) > 1

    def _begin(self, name: str, target: Standing, member: Member) -> None:
        held = None if name in HARMLESS else _store(name) or member.name
        if held is not None:
            self._busy.add(held)
        self._lasting.add(asyncio.create_task(self._strike(name, target, member, held=held)))

    async def _strike(self, name: str, target: Standing, member: Member, *, held: str | None) -> None:
        began = time.monotonic()
        try:
            await self._faults.known[name](target, member)
            if _store(name) is not None and not self.world.is_over:
                is_calm = self.world.chance.random() < CALMLY
                await asyncio.sleep(CALM if is_calm else time.monotonic() - began)
        finally:
            if held is not None:
                self._busy.discard(held)


def _store(name: str) -> str | None:
    """The store that a fault befalls, if it is one of those."""
    store = name.partition("_")[0]
    return store if store in ("redis", "postgres") else None
