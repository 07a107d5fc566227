"""What a second viewer of the same stream costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bench.contestants import QUESTION, SOCKETS, Socket, conversations, socket
from bench.load import Call, Tally, Viewer, view
from bench.measurements.tokens import APART, SETTLING, check, window
from bench.runs import Figures, Measurement
from bench.servers import ServerProcess
from bench.stage import RATE, Plan, Stage


def measurement(plan: Plan) -> Measurement:
    """On both servers: the same streams, first with one viewer each, then with two."""
    streams = max(1, plan.streams // 2)
    return Measurement(
        title=f"A second viewer of the same stream ({streams} streams)",
        cases={
            contestant.name: partial(measure, contestant=contestant, streams=streams, seconds=plan.seconds)
            for contestant in SOCKETS
        },
    )


async def measure(stage: Stage, *, contestant: Socket, streams: int, seconds: float) -> Figures:
    """One server once."""
    stage.speak()
    with contestant.serving(stage) as server:
        made = await conversations(server, key=stage.key, count=streams)
        viewers = await come(server, [socket(conversation, key=stage.key, says=QUESTION) for conversation in made])
        alone = await window(server, tally=Tally(), seconds=seconds)
        viewers += await come(server, [socket(conversation, key=stage.key) for conversation in made])
        both = await window(server, tally=Tally(), seconds=seconds)
        check(viewers)
    tokens = streams * RATE * seconds
    one, two = (used / tokens * 1e6 for used in (alone, both))
    return {"CPU µs/token, one viewer": one, "two": two, "the second": two - one}


async def come(server: ServerProcess, calls: Sequence[Call], *, tally: Tally | None = None) -> list[Viewer]:
    """One viewer after the other."""
    viewers = []
    for asked in calls:
        viewers.append(await view(server.url, asked, tally=tally))
        await asyncio.sleep(APART)
    await asyncio.sleep(SETTLING)
    return viewers
