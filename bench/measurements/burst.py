"""A hundred people ask within one second."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from bench.contestants import SOCKETS, Socket, asking, conversations, socket
from bench.load import Viewer, view
from bench.measure import percentile
from bench.runs import Figures, Measurement
from bench.stage import Plan, Stage

TURNS = 100


def measurement(plan: Plan) -> Measurement:
    """On both servers; each answer streams on."""
    return Measurement(
        title=f"{TURNS} turns started within one second: from the frame that asks to the first token",
        cases={contestant.name: partial(measure, contestant=contestant) for contestant in SOCKETS},
    )


async def measure(stage: Stage, *, contestant: Socket) -> Figures:
    """One server once."""
    stage.speak()
    with contestant.serving(stage) as server:
        made = await conversations(server, key=stage.key, count=TURNS)
        viewers = [await view(server.url, socket(conversation, key=stage.key)) for conversation in made]
        start = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(viewer, at=start + number / TURNS)) for number, viewer in enumerate(viewers)]
    waits = [task.result() for task in asked]
    return {"ms p50": percentile(waits, 50), "p99": percentile(waits, 99), "most": max(waits)}


async def ask(viewer: Viewer, *, at: float) -> float:
    """Ask at that time of the loop: milliseconds to the first token."""
    await asyncio.sleep(at - asyncio.get_running_loop().time())
    first, asked = viewer.until(b"@"), time.time()
    viewer.say(asking("Begin."))
    return (await first - asked) * 1e3
