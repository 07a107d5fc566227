"""One run: a cluster, talks, the nemesis; then quiet, the last look, and the checker's verdict."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from tests.torture import scripts
from tests.torture.cells import Cells
from tests.torture.clients import PythonClient
from tests.torture.cluster import Cluster, Database, cluster
from tests.torture.history import Recorder
from tests.torture.last_look import write_down
from tests.torture.nemesis import Nemesis
from tests.torture.records import Quiescent, Started, State
from tests.torture.rows import Rows
from tests.torture.states import States
from tests.torture.talks import talk_on
from tests.torture.viewers import NativeViewer
from tests.torture.world import OWNER, World


@dataclass(frozen=True)
class Plan:
    """What is to be done. A run ends when so many turns were hit, by every fault, and each cell so many times, or after
    so many seconds; if both numbers are 0, by time alone."""

    seed: int
    database: Database = "sqlite"
    servers: int = 4
    redis: bool = True
    talks: int = 10
    """Conversations at a time."""
    turns: int = 0
    cell: int = 0
    seconds: float = 60.0
    faults: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    scripts: tuple[str, ...] = ()
    mutant: str = ""
    quiet: float = 40.0
    """How long the cluster may take to come to rest when nothing is broken any more, in seconds."""

    @property
    def command(self) -> str:
        """What repeats it."""
        options = [
            f"--seed {self.seed} --database {self.database} --servers {self.servers} --talks {self.talks}",
            f"--turns {self.turns} --cell {self.cell} --seconds {self.seconds:g}",
            *([f"--faults {','.join(self.faults)}"] if self.faults else []),
            *([f"--states {','.join(self.states)}"] if self.states else []),
            *([f"--scripts {','.join(self.scripts)}"] if self.scripts else []),
            *([f"--mutant {self.mutant}"] if self.mutant else []),
            *([] if self.redis else ["--no-redis"]),
        ]
        return f"python -m tests.torture {' '.join(options)}"


@dataclass
class Outcome:
    """What a run left: the file of its history, and which cells were hit."""

    plan: Plan
    history: Path
    cells: Cells
    turns: int
    """How many there were, and how many of them were hit."""
    hit: int
    seconds: float
    held_up: float
    """For how many of ten seconds, at worst, the machine was busy with something else."""


async def run(plan: Plan, folder: Path) -> Outcome:
    """Do it; everything of it is in the folder."""
    began = time.monotonic()
    recorder = Recorder(folder / "history.jsonl")
    stage = cluster(folder, servers=plan.servers, database=plan.database, redis=plan.redis, mutant=plan.mutant)
    async with (
        stage as stand,
        aiohttp.ClientSession(read_bufsize=2**20, connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        world = World(
            stand,
            recorder,
            Rows(stand.database_url, owner=OWNER),
            States(stand.notes),
            http,
            Random(plan.seed),
            scripts=plan.scripts,
        )
        await asyncio.to_thread(stand.provider.script, named=scripts.SCRIPTS)
        for member in stand.members:
            world.note(Started(process=member.life, server=member.kind))
        nemesis = Nemesis(world, faults=plan.faults, states=plan.states, goal=plan.cell)
        try:
            await _rage(world, nemesis, plan)
            await _settle(world, patience=plan.quiet)
            world.note(Quiescent())
            await write_down(world)
        finally:
            await _end(world)
            recorder.close()
            _keep_logs(stand, folder)
    return Outcome(
        plan,
        folder / "history.jsonl",
        cells=nemesis.cells,
        turns=sum(len(talk.turns) for talk in world.talks),
        hit=len(nemesis.met),
        seconds=time.monotonic() - began,
        held_up=world.held_up,
    )


async def _rage(world: World, nemesis: Nemesis, plan: Plan) -> None:
    """Talks and faults at the same time, until it is enough; then no new orders, and everything is healed."""
    chores = [asyncio.create_task(chore) for chore in (world.states.follow(), world.look(), world.feel())]
    world.chores = chores
    talks = [asyncio.create_task(talk_on(world, f"t{number}-")) for number in range(plan.talks)]
    raging = asyncio.create_task(nemesis.rage())
    until = time.monotonic() + plan.seconds
    try:
        while time.monotonic() < until and not _is_enough(nemesis, plan):
            done, _ = await asyncio.wait({raging, *chores, *talks}, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        world.is_over = True
        raging.cancel()
        await nemesis.rest()
        await nemesis.last()
        for member in world.cluster.members:
            if member.process is None:
                await member.start()
                world.note(Started(process=member.life, server=member.kind))
    await asyncio.wait(talks, timeout=plan.quiet)
    for task in talks:
        if task.done():
            task.result()
        task.cancel()


def _is_enough(nemesis: Nemesis, plan: Plan) -> bool:
    cells = nemesis.cells
    return bool(plan.turns or plan.cell) and len(nemesis.met) >= plan.turns and cells.is_even and not cells.lacking


async def _settle(world: World, *, patience: float) -> None:
    """Wait until no turn is active, no title is waited for, nothing of a draft is left, and every viewer who wants it
    has the whole log and what is shown beside it, but not for ever."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while not await _is_quiet(world):  # noqa: ASYNC110 -- rows tell nobody
                await asyncio.sleep(0.2)


async def _is_quiet(world: World) -> bool:
    rows = world.rows
    if world.asking.total() or await rows.turns() or await rows.is_naming() or await rows.leaves_batches():
        return False
    shown, positions = {row.conversation: row.shown for row in await rows.states()}, await rows.positions()
    staying = [(talk, viewer) for talk in world.talks for viewer in talk.viewers if not viewer.has_left]
    clients = [(talk, talk.client) for talk in world.talks if talk.client is not None]
    return all(isinstance(viewer, NativeViewer) and viewer.turn is None for _, viewer in staying) and all(
        viewer.seq == positions[talk.conversation] and shown[talk.conversation].items() <= viewer.state.items()
        for talk, viewer in (*staying, *clients)
        if isinstance(viewer, NativeViewer | PythonClient)
    )


async def _end(world: World) -> None:
    """Everybody goes."""
    for talk in world.talks:
        for viewer in talk.viewers:
            if not viewer.has_left:
                viewer.leave()
    await asyncio.sleep(0)
    for task in (*world.tasks, *world.chores):
        task.cancel()
    await asyncio.gather(*world.tasks, *world.chores, return_exceptions=True)


def _keep_logs(stand: Cluster, folder: Path) -> None:
    """What the servers logged, for whoever looks for a cause."""
    for member in stand.members:
        (folder / f"{member.name}.log").write_text("".join(member.everything))
