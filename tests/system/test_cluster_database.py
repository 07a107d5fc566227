"""A database that is away for a while, and one file that many processes write to."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import cycle, islice
from uuid import UUID

import pytest

from streaming.frames import Error
from tests.client import Client, Socket, caught_up, ended, says
from tests.postgres_server import PostgresProcess
from tests.provider import ProviderProcess, Script
from tests.redis import RedisProcess
from tests.server import KINDS
from tests.system.callers import Caller
from tests.system.cluster import LONG, Cluster, NewCluster, scaled, started
from tests.template import DATABASE, Template, site_at

STREAMS = scaled(300, 40)
WORDS, RATE = scaled(200, 60), 10
AWAY = scaled(11, 5)
LEASE = {} if LONG else {"LEASE": 4.0, "LEASE_RENEWAL": 1.0}
"""The database is away for longer than a lease."""
REFUSED, SERVED = 20.0, 20.0
"""Seconds for who asks while it is away, and after it is back: the pool's ten, and some for a busy machine."""
WRITERS = scaled(100, 32)
SCRIPT: Script = [
    {"gate": "begin"},
    {"words": WORDS, "rate": RATE},
    {"gate": "end"},
    {"words": 10, "rate": RATE, "start": WORDS + 1},
]
SPEECH = "".join(f"w{number:04} " for number in range(1, WORDS + 11))


@pytest.fixture
def own_postgres(postgres_template: Template) -> Iterator[PostgresProcess]:
    with PostgresProcess(data=postgres_template.data) as postgres:
        yield postgres


async def test_a_postgres_that_is_away_for_long_fails_no_turn_and_has_none_taken_over(
    own_postgres: PostgresProcess, postgres_template: Template, redis: RedisProcess, provider: ProviderProcess
) -> None:
    """R10, R19: stopped in the middle of many answers. One process is late in renewing its leases, which have lapsed,
    when the others look for turns that nobody keeps."""
    provider.script(SCRIPT)
    site = site_at(own_postgres.uri(DATABASE), provider_url=provider.base_url, env={"REDIS_URL": redis.url})
    with started(site, key=postgres_template.key, redis=redis, chat=LEASE) as cluster:
        async with AsyncExitStack() as opened:
            askers = islice(cycle(cluster.clients), STREAMS)
            sockets = await asyncio.gather(*(ask(client, opened) for client in askers))
            await asyncio.to_thread(provider.open_gate, "begin")
            await asyncio.gather(*(socket.until(says("w0005")) for socket in sockets))

            await asyncio.to_thread(own_postgres.stop)
            await asyncio.sleep(AWAY)
            unfinished = sum(not ended()(socket) for socket in sockets)
            late = cluster.servers[-1]
            os.kill(late.pid, signal.SIGSTOP)
            await asyncio.to_thread(own_postgres.start)
            await others_have_looked(cluster)
            os.kill(late.pid, signal.SIGCONT)
            await asyncio.to_thread(provider.open_gate, "end")
            await asyncio.gather(*(socket.until(ended(), seconds=90) for socket in sockets))

        turns = cluster.rows("SELECT status, attempt, losses FROM verbatim_history_turn")
        events = cluster.rows("SELECT turn_id, kind FROM verbatim_history_event")
        left = cluster.rows("SELECT count(*) FROM verbatim_history_deltabatch")
    assert unfinished == STREAMS
    assert turns == [("completed", 1, 0)] * STREAMS
    assert Counter(events) == dict.fromkeys(events, 1)
    assert len(events) == 5 * STREAMS
    assert left == [(0,)]
    for socket in sockets:
        assert socket.folded.events[2]["data"]["text"] == SPEECH
        assert socket.folded.resets == 0
    assert [entry["ended"] for entry in provider.log()] == ["completed"] * STREAMS


async def test_while_postgres_is_away_who_asks_is_refused_soon_and_served_again_soon_after_it_is_back(
    own_postgres: PostgresProcess, postgres_template: Template, redis: RedisProcess, provider: ProviderProcess
) -> None:
    """R19: the longer it has been away, the longer its pool would wait before it looks again."""
    site = site_at(own_postgres.uri(DATABASE), provider_url=provider.base_url, env={"REDIS_URL": redis.url})
    with started(site, key=postgres_template.key, redis=redis, kinds=KINDS) as cluster:
        callers = [Caller(server.url, key=cluster.key) for server in cluster.servers]
        before = await asyncio.gather(*(asked_in_turn(caller) for caller in callers))

        await asyncio.to_thread(own_postgres.stop)
        meanwhile = await asyncio.gather(*(asked_in_turn(caller) for caller in callers))
        await asyncio.to_thread(own_postgres.start)
        async with asyncio.timeout(SERVED):
            await asyncio.gather(*(until_served(caller) for caller in callers))

    assert [status for told in before for status, _ in told] == [200] * 2 * len(callers)
    assert [status for told in meanwhile for status, _ in told] == [503] * 2 * len(callers)
    assert max(seconds for told in meanwhile for _, seconds in told) <= REFUSED


async def asked_in_turn(caller: Caller) -> list[tuple[int, float]]:
    """What each of the doors that need the database says, and after how many seconds."""
    told = []
    for path in ("/ready/", "/api/v1/conversations/"):
        began = time.monotonic()
        answer = await caller.get(path)
        told.append((answer.status, time.monotonic() - began))
    return told


async def until_served(caller: Caller) -> None:
    """Ask until there is an answer. Who is refused has waited for a connection, so this does not spin."""
    while (await caller.get("/api/v1/conversations/")).status != 200:
        pass


async def others_have_looked(cluster: Cluster) -> None:
    """Until all processes but one have renewed their leases twice: in between they have looked at those of others.
    Every round is a connection and a query."""
    query = "SELECT engine, max(lease_expires_at) FROM verbatim_history_turn WHERE lease_expires_at > now() GROUP BY 1"
    seen: dict[UUID, set[datetime]] = defaultdict(set)
    async with asyncio.timeout(30):
        while [len(times) > 1 for times in seen.values()].count(True) < len(cluster.servers) - 1:
            for engine, expires in await asyncio.to_thread(cluster.rows, query):
                seen[engine].add(expires)


async def ask(client: Client, opened: AsyncExitStack, text: str = "Go on.") -> Socket:
    """Someone who has asked in a new conversation, with a socket of theirs."""
    conversation = await client.new_conversation()
    socket = await opened.enter_async_context(client.socket(conversation))
    await socket.until(caught_up)
    request_id = await socket.send(text)
    while isinstance(answer := await socket.answer(), Error):
        assert answer.code == "busy"
        await socket.send(text, request_id=request_id)
    return socket


async def test_sqlite_with_four_processes_that_write_shows_nobody_a_lock(
    new_cluster: NewCluster, provider: ProviderProcess
) -> None:
    """R19: answers, tools, stops and new conversations at once."""
    calls = [{"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}}]
    provider.script([[{"words": 20, "rate": 50}, *calls], [{"words": 60, "rate": 50}]])
    with new_cluster("SQLite") as cluster:
        askers = islice(cycle(cluster.clients), WRITERS)
        ends = await asyncio.gather(*(two_turns(client, number) for number, client in enumerate(askers)))
        complaints = cluster.tracebacks()

    assert Counter(ends) == {("completed", "cancelled"): WRITERS // 4, ("completed", "completed"): WRITERS * 3 // 4}
    assert complaints == []


async def two_turns(client: Client, number: int) -> tuple[str, ...]:
    """How two turns in a row end; every fourth second one is stopped."""
    async with AsyncExitStack() as opened:
        socket = await ask(client, opened)
        await socket.until(ended())
        await socket.send("And again.")
        await socket.until(says("w0010"))
        if number % 4 == 0:
            await socket.stop(str(socket.folded.events[len(socket.folded.events)]["turn"]))
        await socket.until(ended(2))
    events = socket.folded.events.values()
    return tuple(event["data"]["status"] for event in events if event["kind"] == "turn_ended")
