"""How long a person waits for the first token longer than the provider needs, while others' answers stream."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from bench.contestants import SOCKETS, Socket, asking, conversations, socket
from bench.load import Viewer, view
from bench.measure import percentile
from bench.measurements.tokens import begin, check
from bench.runs import Figures, Measurement
from bench.stage import Plan, Stage, words

OTHERS = 50
PROBES = 100
ENDED = b'"kind":"turn_ended"'


def measurement(plan: Plan) -> Measurement:
    """On both servers. The provider takes no time to think."""
    return Measurement(
        title=f"From the frame that asks to the first token, {PROBES} times, while {OTHERS} answers stream",
        cases={contestant.name: partial(measure, contestant=contestant) for contestant in SOCKETS},
    )


async def measure(stage: Stage, *, contestant: Socket) -> Figures:
    """One server once."""
    stage.speak(probe=words(3))
    with contestant.serving(stage) as server:
        others = await begin(contestant, server, count=OTHERS, key=stage.key)
        [conversation] = await conversations(server, key=stage.key)
        probe = await view(server.url, socket(conversation, key=stage.key))
        waits = [await first_token(probe) for _ in range(PROBES)]
        check(others)
    return {"ms p50": percentile(waits, 50), "p99": percentile(waits, 99), "most": max(waits)}


async def first_token(viewer: Viewer) -> float:
    """Ask, and wait until the answer is over: milliseconds to its first token."""
    first, ended, asked = viewer.until(b"@"), viewer.until(ENDED), time.time()
    viewer.say(asking("[[probe]]"))
    came = await first
    await ended
    await asyncio.sleep(0.01)
    return (came - asked) * 1e3
