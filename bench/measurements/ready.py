"""How soon after its start a server takes work."""

from __future__ import annotations

import time
from functools import partial

import aiohttp

from bench.runs import Figures, Measurement
from bench.servers import KINDS, Kind
from bench.stage import Plan, Stage


def measurement(plan: Plan) -> Measurement:
    """Both servers."""
    return Measurement(
        title="From the start of the process to the first answer",
        cases={f"Verbatim, {kind}": partial(measure, kind=kind) for kind in KINDS},
    )


async def measure(stage: Stage, *, kind: Kind) -> Figures:
    """One server once: until it says that it listens, and until it says that it is ready."""
    site, began = stage.site(), time.monotonic()
    with stage.verbatim(kind, site=site) as server:
        listens = time.monotonic() - began
        async with (
            aiohttp.ClientSession(server.url, raise_for_status=True) as session,
            session.get("/ready/") as answer,
        ):
            await answer.read()
        ready = time.monotonic() - began
    return {"listens s": listens, "ready s": ready}
