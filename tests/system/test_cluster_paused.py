"""A process that is stopped for longer than its leases, and then goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

import psutil
import pytest

from streaming.frames import Delta
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
    scripts,
    set_free,
)  # fmt: skip
from tests.system.viewers import Viewer, assert_lawful, fresh_read
from tests.system.watched_tools import Workshop

PAUSE = 20.0
MOMENT = 0.5
SHORT_LEASE = {"LEASE": 2.0, "LEASE_RENEWAL": 0.5}
CASES: list[tuple[Kind, Database, dict[str, float]]] = (
    [(kind, database, {}) for kind in KINDS for database in DATABASES]
    if LONG
    else [("uvicorn", "PostgreSQL", SHORT_LEASE), ("daphne", "SQLite", SHORT_LEASE)]
)
PAUSED = [mishap for mishap in MISHAPS if mishap.name != "compaction"]  # stopped in a transaction, it keeps its locks


@pytest.mark.parametrize(("kind", "database", "lease"), CASES)
async def test_a_process_that_was_stopped_for_too_long_writes_nothing_when_it_goes_on(
    kind: Kind, database: Database, lease: dict[str, float], new_cluster: NewCluster, provider: ProviderProcess
) -> None:
    """R10. Its turns have been taken over, all but one of them have ended; answers and results that it was waiting for
    have arrived at its sockets meanwhile."""
    others: list[Kind] = ["daphne", "uvicorn"]
    with new_cluster(database, kinds=[kind, *others], chat={**lease, "TOOLS": TOOLS}) as cluster:
        a, b, c = cluster.clients
        owner = cluster.servers[0]
        async with Workshop() as workshop:
            provider.script(named=scripts(workshop.port))
            asked = await all_in_their_states(PAUSED, a, b, workshop=workshop, provider=provider)
            speech = asked[-1]

            await pause(owner, cluster)
            paused = time.monotonic()
            await end_elsewhere(asked, speech, stopping=c, workshop=workshop, provider=provider)
            await asyncio.sleep(max(0.0, paused + PAUSE - time.monotonic()) if LONG else 0.0)
            before = {turn.turn: rows_of(cluster, turn) for turn in asked if turn is not speech}
            os.kill(owner.pid, signal.SIGCONT)

            stale = await asyncio.gather(*(hear_to_the_end(turn.here) for turn in asked if turn is not speech))
            await asyncio.gather(*(viewer.until(has_ended) for viewer in (speech.here, speech.there)))
            await asyncio.gather(*(come_back(turn, c) for turn in asked))
            owner.terminate()
            await asyncio.to_thread(owner.wait)  # so whatever it had to write is written
            after = {turn.turn: rows_of(cluster, turn) for turn in asked if turn is not speech}

            log = provider.log()
            for turn in asked:
                fresh = await fresh_read(c, turn.conversation)
                assert_right(turn.mishap, fresh, log=log, begun=workshop.begun)
                for viewer in (turn.here, turn.there, turn.away):
                    assert_lawful(viewer, fresh)
                assert_rows(cluster, turn, losses=1)
    assert after == before
    assert stale == [0] * len(stale), "nothing of the attempt that was over is shown any more"


async def pause(owner: ServerProcess, cluster: Cluster) -> None:
    """Stop it where it is in no transaction: it would keep what it has locked, and nobody could take its turns over."""
    os.kill(owner.pid, signal.SIGSTOP)
    while await asyncio.to_thread(is_in_transaction, owner, cluster):
        os.kill(owner.pid, signal.SIGCONT)
        while await asyncio.to_thread(is_in_transaction, owner, cluster):
            pass  # every round is a query
        os.kill(owner.pid, signal.SIGSTOP)


def is_in_transaction(owner: ServerProcess, cluster: Cluster) -> bool:
    """On SQLite, which has one lock: whether anybody keeps it for longer than a moment."""
    url = cluster.site.env["DATABASE_URL"]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=MOMENT)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False
    ports = [line.laddr.port for line in psutil.Process(owner.pid).net_connections("tcp")]
    query = "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND client_port = ANY(%s)"
    return cluster.rows(query, ports) != [(0,)]


async def end_elsewhere(
    asked: list[Asked], speech: Asked, *, stopping: Client, workshop: Workshop, provider: ProviderProcess
) -> None:
    """See all turns taken over, and all but the speech to their end; it has begun anew."""
    (stopped,) = (turn for turn in asked if turn.mishap.name == "stopping")
    await stopping.call("POST", f"/api/v1/turns/{stopped.turn}/stop/")
    await asyncio.gather(*(turn.there.until(is_taken_over) for turn in asked))
    await workshop.until_begun("idempotent-held", times=2)
    await set_free(provider, workshop)
    await asyncio.gather(*(turn.there.until(has_ended) for turn in asked if turn is not speech))
    await speech.there.until(lambda folded: "w0020 " in folded.draft)


def has_ended(folded: Any) -> bool:
    return "turn_ended" in kinds(folded)


async def hear_to_the_end(viewer: Viewer) -> int:
    """How many fragments of the first attempt still come."""
    stale = 0
    while not has_ended(viewer.folded):
        frame = await viewer.hear()
        stale += isinstance(frame, Delta) and frame.attempt == 1
    return stale


async def come_back(turn: Asked, elsewhere: Client) -> None:
    """Who was offline sees it, too; then all leave."""
    await turn.away.go_on(elsewhere)
    await turn.away.until(has_ended)
    for viewer in (turn.here, turn.there, turn.away):
        await viewer.cut()


def rows_of(cluster: Cluster, turn: Asked) -> list[list[tuple[Any, ...]]]:
    """Everything that is stored about a turn."""
    queries = (
        "SELECT * FROM verbatim_history_turn WHERE id = %s",
        "SELECT * FROM verbatim_history_event WHERE turn_id = %s ORDER BY seq",
        "SELECT * FROM verbatim_history_deltabatch WHERE turn_id = %s ORDER BY start",
    )
    return [cluster.rows(query, turn.turn) for query in queries]
