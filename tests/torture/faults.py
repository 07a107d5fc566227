"""What may befall a cluster: each fault by name, done to a turn and to the member that runs it, and undone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias, get_args

from tests.torture import callers
from tests.torture.cluster import CHAT, Member
from tests.torture.records import Exited, Fault, FaultKind, Hit, Kept, Started
from tests.torture.states import Standing
from tests.torture.world import World

LEASE: float = CHAT["LEASE"]
GONE = "redis_gone"
"""What can be only once in a run, as its last fault, and so has no cells."""
Strike: TypeAlias = Callable[[Standing, Member], Awaitable[None]]


class Faults:
    """All of them. `met` is called with each fault that meets a turn, and the turn."""

    def __init__(self, world: World, *, met: Callable[[str, Standing], None]) -> None:
        self.world = world
        self._tell = met
        self.known = self._known()

    def _known(self) -> Mapping[str, Strike]:
        """Those that can happen to this cluster."""
        known: dict[str, Strike] = {
            "kill": self._kill,
            "sigterm": self._sigterm,
            "sigint": self._sigint,
            "sigstop": self._sigstop,
            "cut": self._cut,
            "retry": self._retry,
            "stop": self._stop,
            "provider": self._provider,
        }
        if self.world.cluster.redis is not None:
            known |= {
                "partition_redis": self._partition_redis,
                "redis_restart": self._redis_restart,
                "redis_flushall": self._redis_flushall,
                "redis_pause": self._redis_pause,
            }
        if self.world.cluster.postgres is not None:
            known |= {
                "partition_postgres": self._partition_postgres,
                "postgres_restart": self._postgres_restart,
                "postgres_pause": self._postgres_pause,
                "lock": self._lock,
            }
        return known

    def _turns_of(self, pid: int) -> list[Standing]:
        """The turns that this process runs at this instant."""
        self.world.states.read()
        return self.world.states.of(pid)

    def _all(self) -> list[Standing]:
        """All turns, at this instant."""
        self.world.states.read()
        return self.world.states.all()

    def _met(self, name: str, turns: Iterable[Standing], *, process: str = "") -> None:
        kind: FaultKind | None = next((kind for kind in get_args(FaultKind) if name.startswith(kind)), None)
        for turn in list(turns):
            self._tell(name, turn)
            if kind is not None:
                self.world.note(Hit(fault=kind, turn=turn.turn, state=turn.state, process=process))

    async def _lasts(self, *seconds: float) -> None:
        """One of these, mostly the first."""
        (chosen,) = self.world.chance.choices(seconds, weights=(4, 2, 1))
        await asyncio.sleep(chosen)

    def _fault(self, kind: FaultKind, target: str, began: float, *, instant: bool = False, peer: str = "") -> None:
        ended = began if instant else time.time()
        self.world.note(Fault(kind=kind, target=target, began=began, ended=ended, peer=peer))

    async def _kill(self, target: Standing, member: Member) -> None:
        assert member.process is not None
        process, pid = member.life, member.process.pid
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        met = self._turns_of(pid)
        self._met("kill", met, process=process)
        await member.kill()
        self.world.note(Exited(process=process, code=-9))
        self._fault("kill", process, began, instant=True)
        await asyncio.gather(*(self._keep(turn, killed=began) for turn in met if turn.state == "mid_text"))
        await self._start_again(member)

    async def _keep(self, turn: Standing, *, killed: float) -> None:
        """What is stored of a turn whose process has just been killed, unless somebody has taken it over already."""
        try:
            rows = [row for row in await self.world.rows.turns() if row.id == turn.turn]
            attempt, text = await self.world.rows.draft(turn.turn)
        except OSError:
            return
        if rows and attempt in (0, rows[0].attempt):
            kept = Kept(turn=turn.turn, attempt=rows[0].attempt, fault="kill", killed=killed, text=text)
            self.world.note(kept)

    async def _sigterm(self, target: Standing, member: Member) -> None:
        await self._end("sigterm", member, signal.SIGTERM)

    async def _sigint(self, target: Standing, member: Member) -> None:
        await self._end("sigint", member, signal.SIGINT)

    async def _end(self, kind: FaultKind, member: Member, how: signal.Signals) -> None:
        assert member.process is not None
        process = member.life
        self._met(kind, self._turns_of(member.process.pid), process=process)
        self._fault(kind, process, time.time(), instant=True)
        code = await member.end(how)
        self.world.note(Exited(process=process, code=code))
        await self._start_again(member)

    async def _start_again(self, member: Member) -> None:
        await asyncio.sleep(self.world.chance.choice((0.0, 0.3, 1.2)) * LEASE)
        await member.start()
        self.world.note(Started(process=member.life, server=member.kind))

    async def _sigstop(self, target: Standing, member: Member) -> None:
        assert member.process is not None
        began = time.time()
        member.pause()
        if not await self.world.rows.is_locked():  # on SQLite that would stop everybody, and what for is known
            self._met("sigstop", self._turns_of(member.process.pid), process=member.life)
            await asyncio.sleep(self.world.chance.choice((0.6, 1.4, 1.8, 2.5)) * LEASE)
        member.resume()
        self._fault("sigstop", member.life, began)

    async def _partition_redis(self, target: Standing, member: Member) -> None:
        await self._part(member, "redis")

    async def _partition_postgres(self, target: Standing, member: Member) -> None:
        await self._part(member, "postgres")

    async def _part(self, member: Member, peer: str) -> None:
        """Either silence, after which what was sent arrives late, or every connection is refused."""
        line = member.to_redis if peer == "redis" else member.to_database
        process = member.life
        assert member.process is not None
        began = time.time()
        if self.world.chance.random() < 0.5:
            line.fall_silent()
        else:
            line.refuse()
        self._met(f"partition_{peer}", self._turns_of(member.process.pid), process=process)
        await asyncio.sleep(self.world.chance.choice((0.3, 0.8, 1.4, 2.0)) * LEASE)
        line.heal()
        self._fault("partition", process, began, peer=peer)

    async def _cut(self, target: Standing, member: Member) -> None:
        """Every viewer of the turn, at the same instant; they come back one by one."""
        talk = self.world.talk_about(target.turn)
        self._met("cut", [target] if talk else [])
        for viewer in talk.viewers if talk else ():
            if viewer.is_here:
                now = time.time()
                viewer.cut(away=self.world.chance.choice((0.0, 0.3, 1.0, 3.0)))
                self._fault("cut", viewer.name, now, instant=True)
        if talk and talk.client is not None:
            talk.client.cut()

    async def _retry(self, target: Standing, member: Member) -> None:
        """The order of the turn, once more."""
        talk = self.world.talk_about(target.turn)
        if talk is not None:
            self._met("retry", [target])
            talk.repeat(target.turn)

    async def _stop(self, target: Standing, member: Member) -> None:
        self._met("stop", [target])
        await callers.stop(self.world, target.turn, member=await self.world.somebody(but=member))

    async def _provider(self, target: Standing, member: Member) -> None:
        """Every connection of this member to the provider breaks; sometimes new ones are refused for a while."""
        assert member.process is not None
        process, began = member.life, time.time()
        self._met("provider", self._turns_of(member.process.pid), process=process)
        member.to_provider.refuse()
        await self._lasts(0.0, 0.3, 2.0)
        member.to_provider.heal()
        self._fault("provider", process, began)

    async def _lock(self, target: Standing, member: Member) -> None:
        """Somebody at a console holds the row of the turn, or of its conversation."""
        talk = self.world.talk_about(target.turn)
        if talk is None:
            return
        table, row = self.world.chance.choice((("turn", target.turn), ("conversation", talk.conversation)))
        self._met("lock", [target])
        (seconds,) = self.world.chance.choices((0.3, 1.0, 3.0), weights=(4, 2, 1))
        began, ended = await self.world.rows.hold(table, row, seconds=seconds)
        self.world.note(Fault(kind="lock", target=row, began=began, ended=ended))

    async def redis_is_gone(self) -> None:
        """It does not come back."""
        redis = self.world.cluster.redis
        assert redis is not None
        self._met(GONE, self._all())
        self.world.note(Fault(kind="redis_gone", target="redis", began=time.time()))
        await asyncio.to_thread(redis.stop)

    async def _redis_restart(self, target: Standing, member: Member) -> None:
        redis = self.world.cluster.redis
        assert redis is not None
        began = time.time()
        self._met("redis_restart", self._all())
        await asyncio.to_thread(redis.stop)
        await self._lasts(0.0, 1.0, 8.0)
        await asyncio.to_thread(redis.start)
        self._fault("redis_restart", "redis", began)

    async def _redis_flushall(self, target: Standing, member: Member) -> None:
        redis = self.world.cluster.redis
        assert redis is not None
        began = time.time()
        self._met("redis_flushall", self._all())
        await asyncio.to_thread(redis.flushall)
        self._fault("redis_flushall", "redis", began)

    async def _redis_pause(self, target: Standing, member: Member) -> None:
        redis = self.world.cluster.redis
        assert redis is not None
        began = time.time()
        redis.pause()
        self._met("redis_pause", self._all())
        await self._lasts(0.5, 2.0, 5.0)
        redis.resume()
        self._fault("redis_pause", "redis", began)

    async def _postgres_restart(self, target: Standing, member: Member) -> None:
        postgres = self.world.cluster.postgres
        assert postgres is not None
        began = time.time()
        self._met("postgres_restart", self._all())
        await asyncio.to_thread(postgres.stop)
        await self._lasts(0.0, 1.0, 3.0)
        await asyncio.to_thread(postgres.start)
        self._fault("postgres_restart", "postgres", began)

    async def _postgres_pause(self, target: Standing, member: Member) -> None:
        postgres = self.world.cluster.postgres
        assert postgres is not None
        began = time.time()
        postgres.pause()
        self._met("postgres_pause", self._all())
        await self._lasts(0.5, 1.5, 3.0)
        postgres.resume()
        self._fault("postgres_pause", "postgres", began)
