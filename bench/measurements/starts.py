"""What it costs to start a turn, and to have one with hardly a word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence

from bench.contestants import asking, conversations, socket
from bench.load import Viewer, view
from bench.measure import cpu_of
from bench.runs import Figures, Measurement
from bench.servers import ServerProcess, Site
from bench.stage import Plan, Stage, words

TURNS = 100
APART = 0.05
IDLE = 3.0


def measurement(plan: Plan) -> Measurement:
    """On both databases, whose server's own work is not counted. What the process does anyhow is taken off."""
    return Measurement(
        title=f"What a turn costs beside its tokens ({TURNS} turns, uvicorn)",
        cases={"SQLite": on_sqlite, "PostgreSQL": on_postgres},
    )


async def on_sqlite(stage: Stage) -> Figures:
    """On SQLite."""
    return await measure(stage, site=stage.site(), key=stage.key)


async def on_postgres(stage: Stage) -> Figures:
    """On PostgreSQL."""
    with stage.postgres_site() as (site, key):
        return await measure(stage, site=site, key=key)


async def measure(stage: Stage, *, site: Site, key: str) -> Figures:
    """One database once: first whole turns, then others that get no further than to the provider."""
    stage.speak(short=words(1), held=[{"gate": "never"}])
    with stage.verbatim("uvicorn", site=site) as server:
        made = await conversations(server, key=key, count=TURNS)
        viewers = [await view(server.url, socket(conversation, key=key)) for conversation in made]
        idle = await cost(server, asyncio.sleep(IDLE)) / IDLE
        ended = asyncio.gather(*(viewer.until(b'"kind":"turn_ended"') for viewer in viewers))
        whole = await cost(server, ask(viewers, "[[short]]", seen=ended), idle=idle)
        asked = stage.provider.requests_async(2 * TURNS, timeout=60)
        begun = await cost(server, ask(viewers, "[[held]]", seen=asked), idle=idle)
    return {"CPU ms to the provider's request": begun / TURNS * 1e3, "CPU ms in all, one word": whole / TURNS * 1e3}


async def cost(server: ServerProcess, done: Awaitable[object], *, idle: float = 0.0) -> float:
    """Seconds of CPU that the server uses until it is done, without what it would use anyhow, in seconds a second."""
    before, began = cpu_of(server.pid), time.monotonic()
    await done
    return cpu_of(server.pid) - before - idle * (time.monotonic() - began)


async def ask(viewers: Sequence[Viewer], text: str, *, seen: Awaitable[object]) -> None:
    """Have everybody ask, one after the other, and wait until what follows was seen."""
    for viewer in viewers:
        viewer.say(asking(text))
        await asyncio.sleep(APART)
    await seen
