"""The one who breaks things: by chance, but seeded, and where it has broken least so far."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from tests.torture.cluster import Member
from tests.torture.faults import Faults
from tests.torture.records import State
from tests.torture.states import Standing
from tests.torture.world import World

AIMED: Mapping[State, float] = {
    "queued": 0.15,
    "mid_text": 0.8,
    "mid_tool": 0.3,
    "between_hops": 0.2,
    "compacting": 0.1,
    "stopping": 0.2,
    "taken_over": 0.2,
}
"""The states that it aims at, and how long after their beginning it hits at the latest, in seconds."""
AIMING = 2.0
"""How long it waits for a turn to come where it aims, in seconds."""
HARMLESS = ("cut", "retry", "stop")
"""What does nothing to processes."""
STILL = (0.1, 0.8)
"""How long it rests between two faults."""


class Nemesis:
    """Aims at states, and does what has met them least. `hits` and `met` are those of its faults."""

    def __init__(self, world: World, *, faults: Iterable[str] = (), states: Iterable[State] = ()) -> None:
        self.world = world
        self._faults = Faults(world)
        self.hits = self._faults.hits
        self.met = self._faults.met
        self._aims: Counter[State] = Counter()
        self._busy: set[str] = set()
        self._lasting: set[asyncio.Task[None]] = set()
        known = self._faults.known()
        self._states = list(states) or list(AIMED)
        self._only = bool(states)
        chosen = set(faults) or set(known)
        self._known = {name: strike for name, strike in known.items() if name in chosen}

    async def rage(self) -> None:
        """Fault after fault, until it is cancelled; what lasts then is healed by `rest`."""
        while True:
            target = await self._aim()
            member = self.world.cluster.owner_of(target.pid) if target else None
            name = self._choose(target.state, member) if target and member else None
            if target is None or member is None or name is None:
                continue
            self._lasting.add(asyncio.create_task(self._strike(name, target, member)))
            await self._past()
            await asyncio.sleep(self.world.chance.uniform(*STILL))

    async def rest(self) -> None:
        """When this returns, nothing is broken any more."""
        await asyncio.gather(*self._lasting)

    async def _past(self) -> None:
        """Forget what is over; raises what went wrong with it."""
        over = {work for work in self._lasting if work.done()}
        self._lasting -= over
        await asyncio.gather(*over)

    async def _aim(self) -> Standing | None:
        """A turn that is somewhere in the state that was hit least so far, or has just left it; if none comes in time,
        any that there is."""
        self.world.chance.shuffle(self._states)
        state = min(self._states, key=lambda state: self._aims[state])
        self._aims[state] += 1
        target = await self.world.states.when(partial(self._meets, state), patience=AIMING)
        if target is not None:
            await asyncio.sleep(self.world.chance.uniform(0, AIMED[state]))
            return self.world.states.now(target.turn)
        there = [turn for turn in self.world.states.all() if self._meets(turn.state, turn)]
        return self.world.chance.choice(there) if there and not self._only else None

    def _choose(self, state: State, member: Member) -> str | None:
        """What has met this state least so far, of what may befall this member now."""
        names = [name for name in self._known if self._is_free(name, member) and (name, state) != ("stop", "stopping")]
        self.world.chance.shuffle(names)
        return min(names, key=lambda name: self.hits[name, state], default=None)

    def _meets(self, state: State, turn: Standing) -> bool:
        member = self.world.cluster.owner_of(turn.pid)
        return turn.state == state and member is not None and member.is_up and member.name not in self._busy

    def _is_free(self, name: str, member: Member) -> bool:
        """Whether this may befall it now. One process at least goes on undisturbed, and one thing happens to a store
        at a time."""
        store = name.partition("_")[0]
        if store in ("redis", "postgres"):
            return store not in self._busy
        if name in HARMLESS:
            return True
        well = [other for other in self.world.cluster.up if other.name not in self._busy]
        return member in well and len(well) > 1

    async def _strike(self, name: str, target: Standing, member: Member) -> None:
        store = name.partition("_")[0]
        held = store if store in ("redis", "postgres") else "" if name in HARMLESS else member.name
        self._busy.add(held)
        try:
            await self._known[name](target, member)
        finally:
            self._busy.discard(held)
