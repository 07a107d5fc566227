"""What a token costs, from the provider's packet to the viewer's, beside what it costs others."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.contestants import CONTESTANTS, Contestant
from bench.load import Tally, Viewer, call
from bench.measure import cpu_of, percentile
from bench.runs import Figures, Measurement
from bench.servers import ServerProcess
from bench.stage import Plan, Stage

APART = 0.0324
"""Seconds from one start to the next: by the golden ratio, so that the words of the streams do not fall into step."""
SETTLING = 2.0


def measurement(plan: Plan) -> Measurement:
    """`python -m bench tokens`"""
    return Measurement(
        title=f"What a token costs ({plan.streams} streams, or as many as can be borne)",
        cases={contestant.name: partial(measure, contestant=contestant, plan=plan) for contestant in CONTESTANTS},
        ratios={"to raw": ("CPU µs/token", CONTESTANTS[0].name)},
    )


async def measure(stage: Stage, *, contestant: Contestant, plan: Plan) -> Figures:
    """One contestant once."""
    stage.speak()
    streams = min(plan.streams, contestant.most)
    with contestant.serving(stage) as server:
        calls = await contestant.calls(stage, server, count=streams)
        tally, viewers = Tally(), []
        for asked in calls:
            viewers.append(await call(server.url, asked, tally=tally))
            await asyncio.sleep(APART)
        await asyncio.sleep(SETTLING)
        used = await window(server, tally=tally, seconds=plan.seconds)
        check(viewers)
    tokens = len(tally.latencies)
    return {
        "streams": streams,
        "CPU µs/token": used / tokens * 1e6,
        "core %": used / plan.seconds * 100,
        "frames/token": tally.frames / tokens,
        "bytes/token": tally.bytes / tokens,
        "added ms p50": percentile(tally.latencies, 50),
        "p99": percentile(tally.latencies, 99),
    }


async def window(server: ServerProcess, *, tally: Tally, seconds: float) -> float:
    """Seconds of CPU that the server uses in that time, while it is tallied."""
    before, tally.on = cpu_of(server.pid), True
    await asyncio.sleep(seconds)
    tally.on = False
    return cpu_of(server.pid) - before


def check(viewers: list[Viewer]) -> None:
    """Raises for a viewer that was refused, left alone or kept waiting."""
    for viewer in viewers:
        viewer.opened.result()
        assert viewer.newest, "a stream has not begun"
        assert not viewer.closed.done(), "a stream has ended too early"
