"""What a token costs, from the provider's packet to the viewer's, beside what it costs others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bench.contestants import CONTESTANTS, RAW, Contestant
from bench.load import Tally, Viewer
from bench.measure import cpu_of, percentile
from bench.runs import Case, Figures, Measurement
from bench.servers import ServerProcess
from bench.stage import RATE, Plan, Stage

APART = 0.0324
"""Seconds from one start to the next: by the golden ratio, so that the words of the streams do not fall into step."""
SETTLING = 2.0


def measurement(plan: Plan) -> Measurement:
    """All contestants."""
    return Measurement(
        title=f"What a token costs ({plan.streams} streams, or as many as can be borne)",
        cases=cases(CONTESTANTS, streams=plan.streams, seconds=plan.seconds),
        ratios={"to raw": ("CPU µs/token", lambda name: RAW.name)},
    )


def cases(contestants: Sequence[Contestant], *, streams: int, seconds: float) -> dict[str, Case]:
    """So many streams, at each of these."""
    return {
        contestant.name: partial(measure, contestant=contestant, streams=streams, seconds=seconds)
        for contestant in contestants
    }


async def measure(stage: Stage, *, contestant: Contestant, streams: int, seconds: float) -> Figures:
    """One contestant once."""
    stage.speak()
    streams = min(streams, contestant.most)
    with contestant.serving(stage) as server:
        tally = Tally()
        viewers = await begin(contestant, server, count=streams, key=stage.key, tally=tally)
        used = await window(server, tally=tally, seconds=seconds)
        check(viewers, live=contestant.live)
    tokens = len(tally.latencies) if contestant.live else streams * RATE * seconds
    figures = {"streams": streams, "CPU µs/token": used / tokens * 1e6, "core %": used / seconds * 100}
    return {**figures, **seen(tally)} if contestant.live else figures


def seen(tally: Tally) -> Figures:
    """What the viewers noted."""
    tokens = len(tally.latencies)
    return {
        "frames/token": tally.frames / tokens,
        "bytes/token": tally.bytes / tokens,
        "added ms p50": percentile(tally.latencies, 50),
        "p99": percentile(tally.latencies, 99),
    }


async def begin(
    contestant: Contestant, server: ServerProcess, *, count: int, key: str, tally: Tally | None = None
) -> list[Viewer]:
    """The viewers of so many streams, when all have begun."""
    viewers = []
    for _ in range(count):
        next_one = asyncio.create_task(asyncio.sleep(APART))
        viewers.append(await contestant.begin(server, key=key, tally=tally))
        await next_one
    if contestant.live:
        await asyncio.gather(*(viewer.begun for viewer in viewers))
    await asyncio.sleep(SETTLING)
    return viewers


async def window(server: ServerProcess, *, tally: Tally, seconds: float) -> float:
    """Seconds of CPU that the server uses in that time, while it is tallied."""
    before, tally.on = cpu_of(server.pid), True
    await asyncio.sleep(seconds)
    tally.on = False
    return cpu_of(server.pid) - before


def check(viewers: Sequence[Viewer], *, live: bool = True) -> None:
    """Raises for a viewer that was refused, left alone or kept waiting."""
    for viewer in viewers:
        if live or viewer.opened.done():
            viewer.opened.result()
        assert not viewer.closed.done(), "a stream has ended too early"
