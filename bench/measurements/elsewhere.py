"""What it costs to be seen from another process, and how far its viewers are behind; on PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.contestants import QUESTION, conversations, socket
from bench.load import Tally
from bench.measure import cpu_of
from bench.measurements.tokens import check, seen
from bench.measurements.viewers import come
from bench.runs import Figures, Measurement
from bench.servers import KINDS, Kind, ServerProcess
from bench.stage import RATE, Plan, Stage


def measurement(plan: Plan) -> Measurement:
    """On both servers: all turns run in one process, and are followed in another, which does nothing else."""
    streams = max(1, plan.streams // 2)
    return Measurement(
        title=f"Viewers in another process ({streams} streams, PostgreSQL and Redis)",
        cases={
            f"Verbatim, WebSocket, {kind}": partial(measure, kind=kind, streams=streams, seconds=plan.seconds)
            for kind in KINDS
        },
    )


async def measure(stage: Stage, *, kind: Kind, streams: int, seconds: float) -> Figures:
    """Two processes once. Both share one core: what each uses is its own all the same."""
    stage.speak()
    with pair(stage, kind=kind) as (running, reading, key):
        made = await conversations(running, key=key, count=streams)
        askers = await come(running, [socket(conversation, key=key, says=QUESTION) for conversation in made])
        alone = await used(running, reading, seconds=seconds)
        tally = Tally()
        viewers = await come(reading, [socket(conversation, key=key) for conversation in made], tally=tally)
        tally.on = True
        both = await used(running, reading, seconds=seconds)
        tally.on = False
        check([*askers, *viewers])
    tokens = streams * RATE * seconds
    told = {
        "CPU µs/token where it runs, nobody elsewhere": alone[0] / tokens * 1e6,
        "with viewers elsewhere": both[0] / tokens * 1e6,
        "CPU µs/token where it is read": (both[1] - alone[1]) / tokens * 1e6,
    }
    return {**told, **seen(tally)}


@contextmanager
def pair(stage: Stage, *, kind: Kind) -> Iterator[tuple[ServerProcess, ServerProcess, str]]:
    """Two processes of one site, and the key of its user."""
    with ExitStack() as alive:
        site, key = alive.enter_context(stage.cluster())
        one, two = (alive.enter_context(stage.verbatim(kind, site=site)) for _ in range(2))
        yield one, two, key


async def used(*servers: ServerProcess, seconds: float) -> list[float]:
    """Seconds of CPU that each uses in that time."""
    before = [cpu_of(server.pid) for server in servers]
    await asyncio.sleep(seconds)
    return [cpu_of(server.pid) - spent for server, spent in zip(servers, before, strict=True)]
