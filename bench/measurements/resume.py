"""Coming back to a long conversation, and reading its pages, beside a short one."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import aiohttp

from bench.contestants import bearing, socket
from bench.environment import ROOT
from bench.load import reached
from bench.measure import percentile
from bench.runs import Figures, Measurement
from bench.servers import ServerProcess, Site
from bench.stage import USER, Plan, Stage

SHORT, LONG = 102, 100_002
TIMES = 50


def measurement(plan: Plan) -> Measurement:
    """On uvicorn. Some events are missing to who comes back; a page has fifty."""
    return Measurement(
        title=f"Coming back to a conversation, {TIMES} times (uvicorn)",
        cases={f"{events:,} events": partial(measure, events=events) for events in (SHORT, LONG)},
        ratios={"to the short one": ("resumed ms p50", lambda name: f"{SHORT:,} events")},
    )


async def measure(stage: Stage, *, events: int) -> Figures:
    """A conversation of so many events, once."""
    site = stage.site()
    conversation = filled(site, events=events)
    with stage.verbatim("uvicorn", site=site) as server:
        resumed = [await resume(server, conversation, key=stage.key, after=events - 6) for _ in range(TIMES)]
        pages = [await pages_of(server, conversation, key=stage.key, depth=at) for at in (0, events - 50)]
    first, last = (percentile(times, 50) for times in pages)
    return {
        "resumed ms p50": percentile(resumed, 50),
        "p99": percentile(resumed, 99),
        "first page ms p50": first,
        "last page": last,
    }


def filled(site: Site, *, events: int) -> str:
    """The id of a new conversation with so many events."""
    command = [sys.executable, "-m", "bench.fill", USER, str(events)]
    return subprocess.run(command, cwd=ROOT, env=site.env, check=True, capture_output=True, text=True).stdout.strip()


async def resume(server: ServerProcess, conversation: str, *, key: str, after: int) -> float:
    """Milliseconds from the handshake to the frame that says that all is here."""
    began = time.time()
    asked = socket(conversation, key=key, after=f"{after}.0")
    viewer, there = await reached(server.url, asked, marker=b'"type":"caught_up"')
    viewer.close()
    return (there - began) * 1e3


async def pages_of(server: ServerProcess, conversation: str, *, key: str, depth: int) -> list[float]:
    """Milliseconds for the page after so many events, again and again."""
    times = []
    async with aiohttp.ClientSession(server.url, headers=bearing(key), raise_for_status=True) as session:
        for _ in range(TIMES):
            began = time.monotonic()
            async with session.get(f"/api/v1/conversations/{conversation}/events/?after={depth}&limit=50") as page:
                await page.read()
            times.append((time.monotonic() - began) * 1e3)
    return times
