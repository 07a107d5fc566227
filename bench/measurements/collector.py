"""What the garbage collector does to the tail: as it is, with the heap frozen after start, patient, and without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from bench.contestants import SOCKETS
from bench.load import Tally
from bench.measurements.crowd import STREAMS
from bench.measurements.tokens import begin, seen, window
from bench.runs import Figures, Measurement
from bench.stage import Plan, Stage

PAUSE = re.compile(r"^collected \d ([\d.]+)$", flags=re.MULTILINE)
TRIED = {"as it is": "usually", "frozen": "frozen", "frozen and patient": "patient", "without": "without"}
[SOCKET] = [contestant for contestant in SOCKETS if contestant.kind == "uvicorn"]


def measurement(plan: Plan) -> Measurement:
    """At the load at which it shows."""
    return Measurement(
        title=f"The garbage collector ({STREAMS} streams, uvicorn)",
        cases={name: partial(measure, application=path, seconds=plan.seconds) for name, path in TRIED.items()},
    )


async def measure(stage: Stage, *, application: str, seconds: float) -> Figures:
    """One setting once."""
    stage.speak()
    with stage.verbatim(SOCKET.kind, application=f"bench.collected:{application}") as server:
        tally = Tally()
        await begin(SOCKET, server, count=STREAMS, key=stage.key, tally=tally)
        starting = len(server.lines)
        used = await window(server, tally=tally, seconds=seconds)
        pauses = [pauses_in(lines) for lines in (server.lines[:starting], server.lines[starting:])]
    begun, streamed = (max(some, default=0.0) for some in pauses)
    return {
        "CPU µs/token": used / len(tally.latencies) * 1e6,
        **seen(tally),
        "longest pause while turns start, ms of CPU": begun,
        "while they stream": streamed,
    }


def pauses_in(lines: Sequence[str]) -> list[float]:
    """The collector's pauses that a server's log tells of, in ms of CPU."""
    return [float(took) for took in PAUSE.findall("".join(lines))]
