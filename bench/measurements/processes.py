"""What a second process brings: the same streams in one and in two, on PostgreSQL and Redis."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from bench.contestants import QUESTION, conversations, socket
from bench.load import Tally, Viewer
from bench.measurements.elsewhere import used
from bench.measurements.tokens import check, seen
from bench.measurements.viewers import come
from bench.runs import Figures, Measurement
from bench.servers import KINDS, Kind
from bench.stage import RATE, Plan, Stage

NUMBERS = {1: "one process", 2: "two processes"}


def measurement(plan: Plan) -> Measurement:
    """On both servers. If two cost together what one does, twice as many on as many cores carry twice as much."""
    return Measurement(
        title=f"One process and two ({plan.streams} streams in all, PostgreSQL and Redis, one core for the processes)",
        cases={
            f"{kind}, {name}": partial(measure, kind=kind, number=number, streams=plan.streams, seconds=plan.seconds)
            for kind in KINDS
            for number, name in NUMBERS.items()
        },
        ratios={"to one": ("CPU µs/token", lambda name: f"{name.partition(',')[0]}, {NUMBERS[1]}")},
    )


async def measure(stage: Stage, *, kind: Kind, number: int, streams: int, seconds: float) -> Figures:
    """So many processes once; each viewer is where its turn runs."""
    stage.speak()
    tally = Tally()
    viewers: list[Viewer] = []
    with ExitStack() as alive:
        site, key = alive.enter_context(stage.cluster())
        servers = [alive.enter_context(stage.verbatim(kind, site=site)) for _ in range(number)]
        for server in servers:
            made = await conversations(server, key=key, count=streams // number)
            calls = [socket(conversation, key=key, says=QUESTION) for conversation in made]
            viewers += await come(server, calls, tally=tally)
        tally.on = True
        spent = sum(await used(*servers, seconds=seconds))
        tally.on = False
        check(viewers)
    return {"CPU µs/token": spent / (len(viewers) * RATE * seconds) * 1e6, **seen(tally)}
