"""`kill -9` of the process that runs turns, in every state of a turn: another process goes on with them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.client import Client
from tests.provider import ProviderProcess
from tests.server import KINDS, Kind, ServerProcess
from tests.system.cluster import DATABASES, LONG, Cluster, Database, NewCluster
from tests.system.held import kinds
from tests.system.mishaps import (
    MISHAPS,
    TOOLS,
    Asked,
    all_in_their_states,
    assert_right,
    assert_rows,
    is_taken_over,
    locked,
    scripts,
    set_free,
)  # fmt: skip
from tests.system.viewers import Viewer, assert_lawful, fresh_read
from tests.system.watched_tools import Workshop

pytestmark = pytest.mark.alone  # beside others, a lease of two seconds may lapse once more
TAKEN_OVER = 15.0
"""Seconds from the death of a process until its turns go on elsewhere, with the lease as it comes."""
SHORT_LEASE = {"LEASE": 2.0, "LEASE_RENEWAL": 0.5}
CASES: list[tuple[Kind, Database, dict[str, float]]] = (
    [(kind, database, {}) for kind in KINDS for database in DATABASES]
    if LONG
    else [("daphne", "PostgreSQL", SHORT_LEASE), ("uvicorn", "SQLite", SHORT_LEASE)]
)


@pytest.mark.parametrize(("kind", "database", "lease"), CASES)
async def test_turns_of_a_killed_process_go_on_at_another_whatever_they_were_doing(
    kind: Kind, database: Database, lease: dict[str, float], new_cluster: NewCluster, provider: ProviderProcess,
    measured: Callable[[str], None],
) -> None:  # fmt: skip
    """R9, R10, R12, R13: in mid-text, mid-tool, between hops, during compaction, while being stopped."""
    others: list[Kind] = ["uvicorn", "daphne"]
    with new_cluster(database, kinds=[kind, *others], chat={**lease, "TOOLS": TOOLS}) as cluster:
        a, b, c = cluster.clients
        async with Workshop() as workshop:
            provider.script(named=scripts(workshop.port))
            asked = await all_in_their_states(MISHAPS, a, b, workshop=workshop, provider=provider)

            await lose(cluster, asked, provider=provider, stopping=c)
            killed = time.monotonic()
            await asyncio.gather(*(move(turn.here, b) for turn in asked))
            await asyncio.gather(*(turn.there.until(is_taken_over) for turn in asked))
            recovered = time.monotonic() - killed
            await workshop.until_begun("idempotent-held", times=2)
            await set_free(provider, workshop)
            await asyncio.gather(*(see_the_end(turn, b, c) for turn in asked))

            log = await provider.requests_async(1)
            for turn in asked:
                fresh = await fresh_read(c, turn.conversation)
                assert_right(turn.mishap, fresh, log=log, begun=workshop.begun)
                for viewer in (turn.here, turn.there, turn.away):
                    assert_lawful(viewer, fresh)
                assert_rows(cluster, turn, losses=1)

    measured(
        f"{kind} killed on {database}, lease {lease.get('LEASE', 10.0):.0f} s: all {len(asked)} turns taken over"
        f" within {recovered:.1f} s"
    )
    assert recovered <= TAKEN_OVER


async def lose(cluster: Cluster, asked: list[Asked], *, provider: ProviderProcess, stopping: Client) -> None:
    """Kill the first server: while one of its turns is being stored, and when another one's stop has not reached it."""
    owner = cluster.servers[0]
    by_name = {turn.mishap.name: turn for turn in asked}
    stored, stopped = by_name["compaction"], by_name["stopping"]
    with locked(cluster, stored.conversation):
        await asyncio.to_thread(provider.open_gate, "compaction")
        await stored.here.until(lambda folded: folded.draft == "Nearly done.")
        await has_answered(provider, stored)
        os.kill(owner.pid, signal.SIGSTOP)
    await stopping.call("POST", f"/api/v1/turns/{stopped.turn}/stop/")
    assert cluster.rows("SELECT status FROM verbatim_history_turn WHERE id = %s", stopped.turn) == [("stopping",)]
    await asyncio.to_thread(ServerProcess.kill, owner)


async def has_answered(provider: ProviderProcess, turn: Asked) -> None:
    """Until the provider has said everything."""
    marker, ended = f"[[{turn.mishap.name}]]", 0
    while not any(marker == entry["body"]["messages"][-1]["content"] and entry["ended"] for entry in provider.log()):
        log = await provider.requests_async(ended + 1, ended=True)
        ended = sum(1 for entry in log if entry["ended"])


async def move(viewer: Viewer, elsewhere: Client) -> None:
    """Find out that one's process is gone, and go to another one."""
    with suppress(ConnectionClosed):
        while True:
            await viewer.hear()
    await viewer.go_on(elsewhere)


async def see_the_end(turn: Asked, b: Client, c: Client) -> None:
    """All three see it, also the one who comes back only now."""
    for viewer in (turn.here, turn.there):
        await viewer.until(lambda folded: "turn_ended" in kinds(folded))
    await turn.away.go_on(c)
    await turn.away.until(lambda folded: "turn_ended" in kinds(folded))
    for viewer in (turn.here, turn.there, turn.away):
        await viewer.cut()
