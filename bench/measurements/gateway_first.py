"""How long a client of OpenAI's protocol waits for the first token longer than if it asked the provider itself."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from bench.contestants import COMPLETIONS, Completions, completing
from bench.load import Call, call
from bench.measure import percentile
from bench.runs import Figures, Measurement
from bench.stage import RATE, Plan, Stage, words

PROBES = 50
APART = 0.1
WORDS = 200
PROBE = "[[probe]]"


def measurement(plan: Plan) -> Measurement:
    """On both servers. The provider takes no time to think."""
    return Measurement(
        title=f"To the first token of {WORDS} at {RATE} a second, {PROBES} times, {APART * 1000:.0f} ms apart",
        cases={contestant.name: partial(measure, contestant=contestant) for contestant in COMPLETIONS},
    )


async def measure(stage: Stage, *, contestant: Completions) -> Figures:
    """One server once. Each probe asks the provider, and then the server."""
    stage.speak(probe=words(WORDS))
    with contestant.serving(stage) as server:
        there = completing(PROBE, model="scripted", key="none")
        here = completing(PROBE, model=contestant.model, key=stage.key)
        await probe(server.url, here)  # what the first request of a process costs is not the point
        probes = []
        for _ in range(PROBES):
            probes.append(asyncio.create_task(both((stage.provider.root, there), (server.url, here))))
            await asyncio.sleep(APART)
        waits = await asyncio.gather(*probes)
    direct, through = [wait for wait, _ in waits], [wait for _, wait in waits]
    added = [mine - theirs for theirs, mine in waits]
    return {
        "provider, ms p50": percentile(direct, 50),
        "here, ms p50": percentile(through, 50),
        "added ms p50": percentile(added, 50),
        "p99": percentile(added, 99),
        "most": max(added),
    }


async def both(*addressed: tuple[str, Call]) -> tuple[float, float]:
    """What each takes, one after the other."""
    there, here = [await probe(url, asked) for url, asked in addressed]
    return there, here


async def probe(url: str, asked: Call) -> float:
    """Ask, and wait until the answer is over: milliseconds to its first token."""
    began = time.time()
    viewer = await call(url, asked)
    first, ended = viewer.until(b"@"), viewer.until(b"[DONE]")
    came = await first
    await ended
    viewer.close()
    return (came - began) * 1e3
