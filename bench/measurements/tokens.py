"""What a token costs, from the provider's packet to the viewer's, beside what it costs others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bench.contestants import CONTESTANTS, RAW, Contestant
from bench.load import Call, Tally, Viewer, call
from bench.measure import cpu_of, percentile
from bench.runs import Case, Figures, Measurement
from bench.servers import ServerProcess
from bench.stage import Plan, Stage

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
        viewers = await gathered(await contestant.calls(stage, server, count=streams), server=server, tally=tally)
        await asyncio.sleep(SETTLING)
        used = await window(server, tally=tally, seconds=seconds)
        check(viewers)
    tokens = len(tally.latencies)
    return {
        "streams": streams,
        "CPU µs/token": used / tokens * 1e6,
        "core %": used / seconds * 100,
        "frames/token": tally.frames / tokens,
        "bytes/token": tally.bytes / tokens,
        "added ms p50": percentile(tally.latencies, 50),
        "p99": percentile(tally.latencies, 99),
    }


async def gathered(calls: Sequence[Call], *, server: ServerProcess, tally: Tally | None = None) -> list[Viewer]:
    """A viewer for each call, one after the other."""
    viewers = []
    for asked in calls:
        viewers.append(await call(server.url, asked, tally=tally))
        await asyncio.sleep(APART)
    return viewers


async def window(server: ServerProcess, *, tally: Tally, seconds: float) -> float:
    """Seconds of CPU that the server uses in that time, while it is tallied."""
    before, tally.on = cpu_of(server.pid), True
    await asyncio.sleep(seconds)
    tally.on = False
    return cpu_of(server.pid) - before


def check(viewers: Sequence[Viewer]) -> None:
    """Raises for a viewer that was refused, left alone or kept waiting."""
    for viewer in viewers:
        viewer.opened.result()
        assert viewer.newest, "a stream has not begun"
        assert not viewer.closed.done(), "a stream has ended too early"
