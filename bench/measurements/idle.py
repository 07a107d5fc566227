"""What a socket costs on which nothing happens, beside one of a bare Channels consumer."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.contestants import conversations, socket
from bench.load import Call, view
from bench.measure import cpu_of, memory_of
from bench.runs import Case, Figures, Measurement
from bench.servers import KINDS, Kind, ServerProcess
from bench.stage import Plan, Stage

SOCKETS = 1_000
FIRST = 100
"""Sockets that are there already when memory is looked at first, so that what a process needs once is not counted."""
QUIET = 3.0
WINDOW = 15.0
"""Seconds: a heartbeat each."""
OURS, BARE = "Verbatim", "bare consumer"


def measurement(plan: Plan) -> Measurement:
    """On both servers."""
    cases: dict[str, Case] = {}
    for kind in KINDS:
        cases[f"{BARE}, {kind}"] = partial(of_bare, kind=kind)
        cases[f"{OURS}, {kind}"] = partial(of_ours, kind=kind)
    return Measurement(
        title=f"{SOCKETS:,} idle sockets, each of a conversation of its own",
        cases=cases,
        ratios={"to bare": ("KiB/socket", lambda name: name.replace(OURS, BARE))},
    )


async def of_bare(stage: Stage, *, kind: Kind) -> Figures:
    """The bare consumer once."""
    with stage.baseline("bare", kind=kind) as server:
        return await measure(server, calls=[Call(path="/", socket=True)] * (FIRST + SOCKETS))


async def of_ours(stage: Stage, *, kind: Kind) -> Figures:
    """The product once."""
    with stage.verbatim(kind) as server:
        made = await conversations(server, key=stage.key, count=FIRST + SOCKETS)
        return await measure(server, calls=[socket(conversation, key=stage.key) for conversation in made])


async def measure(server: ServerProcess, *, calls: list[Call]) -> Figures:
    """Memory when they have come, and CPU while they stay."""
    viewers = [await view(server.url, asked) for asked in calls[:FIRST]]
    await asyncio.sleep(QUIET)
    before = memory_of(server.pid)
    viewers += [await view(server.url, asked) for asked in calls[FIRST:]]
    await asyncio.sleep(QUIET)
    used, began = memory_of(server.pid) - before, cpu_of(server.pid)
    await asyncio.sleep(WINDOW)
    busy = cpu_of(server.pid) - began
    assert not any(viewer.closed.done() for viewer in viewers), "a socket was closed"
    return {
        f"MiB with {FIRST}": before / 2**20,
        "KiB/socket": used / SOCKETS / 2**10,
        "CPU %": busy / WINDOW * 100,
    }
