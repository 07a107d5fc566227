"""Redis only rings the bell: whatever befalls it, all comes, only later, and soon after its return it is live again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.client import Client, Socket, caught_up, ended, says
from tests.provider import ProviderProcess
from tests.redis import RedisProcess
from tests.server import Kind, NewSite
from tests.system.behind import BEHIND, listen, p99
from tests.system.cluster import LONG, Cluster, scaled, started
from tests.system.viewers import fresh_read

pytestmark = pytest.mark.alone
HEALED = 5.0
"""Seconds after Redis is back until everything is live again."""
LATE = 6.0
"""Seconds in which what happens elsewhere is known without Redis."""
PAUSE = scaled(10, 3)
RINGS = scaled(10, 4)
TALK = [{"words": 100_000, "rate": 20, "stamped": True}]
BRIEF = [{"text": "Not yet"}, {"gate": "brief"}, {"text": ", but now."}]

Mishap = Callable[[RedisProcess, Awaitable[None]], Awaitable[None]]


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisProcess]:
    with RedisProcess() as redis:
        yield redis


@pytest.fixture(scope="module")
def pair(make_postgres_site: NewSite, own_redis: RedisProcess) -> Iterator[Cluster]:
    """Two processes with a Redis to which something happens."""
    site, key = make_postgres_site()
    site = site.at(site.env["DATABASE_URL"], REDIS_URL=own_redis.url)
    with started(site, key=key, redis=own_redis, kinds=("daphne", "uvicorn")) as cluster:
        yield cluster


@pytest.fixture
def pair_without_redis(pair: Cluster) -> Iterator[Cluster]:
    """The same, while there is no Redis."""
    pair.redis.kill()
    yield pair
    pair.redis.start()


async def is_flushed(redis: RedisProcess, meanwhile: Awaitable[None]) -> None:
    await asyncio.to_thread(redis.flushall)
    await meanwhile


async def is_restarted(redis: RedisProcess, meanwhile: Awaitable[None]) -> None:
    await asyncio.to_thread(redis.stop)
    await meanwhile
    await asyncio.to_thread(redis.start)


async def is_killed(redis: RedisProcess, meanwhile: Awaitable[None]) -> None:
    await asyncio.to_thread(redis.kill)
    await meanwhile
    await asyncio.to_thread(redis.start)


async def is_paused(redis: RedisProcess, meanwhile: Awaitable[None]) -> None:
    redis.pause()
    await asyncio.gather(meanwhile, asyncio.sleep(PAUSE))
    redis.resume()


@pytest.mark.parametrize(
    ("befalls", "healed"),
    [(is_flushed, 0.0), (is_restarted, HEALED), (is_paused, HEALED), *([(is_killed, HEALED)] if LONG else [])],
)
async def test_whatever_befalls_redis_everybody_sees_everything_and_soon_after_it_is_live_again(
    befalls: Mishap, healed: float, pair: Cluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R18: in the middle of a talk, whose text still comes, and at whose end nobody waits for ever; turns end and are
    stopped meanwhile."""
    provider.script(named={"talk": TALK, "brief": BRIEF})
    a, b = pair.clients
    talk, brief = await a.new_conversation(), await a.new_conversation()
    async with a.socket(talk) as owner, b.socket(talk) as viewer, a.socket(brief) as asker, b.socket(brief) as waiter:
        await asyncio.gather(*(socket.until(caught_up) for socket in (owner, viewer, asker, waiter)))
        await owner.send("[[talk]]")
        await asker.send("[[brief]]")
        await asyncio.gather(viewer.until(says("w0010@")), waiter.until(says("Not yet")))

        await befalls(pair.redis, without_redis(a, b, viewer=viewer, waiter=waiter, provider=provider))
        back = time.time()
        behind = await hear_for(viewer, since=back + healed, seconds=1.5)
        rings = [ring for _ in range(RINGS) for ring in await bell(a, b)]
        await stopped(b, viewer, owner)

        for conversation, sockets in ((talk, (owner, viewer)), (brief, (asker, waiter))):
            fresh = await fresh_read(b, conversation)
            for socket in sockets:
                await socket.until(ended())
                assert (socket.folded.events, socket.folded.runs) == (fresh.events, [])
    measured(
        f"Redis {befalls.__name__}, {healed:.0f} s on: words come {p99(behind) * 1e3:.0f} ms after they are said (p99),"
        f" what is rung for within {max(rings) * 1e3:.0f} ms"
    )
    assert p99(behind) <= BEHIND
    assert max(rings) <= 1


async def without_redis(a: Client, b: Client, *, viewer: Socket, waiter: Socket, provider: ProviderProcess) -> None:
    """A turn ends on A, and is seen to end on B; another one is stopped from there; the talk is still followed."""
    await asyncio.to_thread(provider.open_gate, "brief")
    await waiter.until(ended(), seconds=LATE)
    conversation = await a.new_conversation()
    async with a.socket(conversation) as other:
        await other.send("[[talk]]")
        await other.until(says("w0002@"))
        await stopped(b, other)
    heard = viewer.folded.length
    await viewer.until(lambda socket: socket.folded.length > heard, seconds=LATE)


async def bell(a: Client, b: Client) -> tuple[float, float]:
    """How soon the first word of A's turn is seen on B, where nothing was going on; and how soon it ends when it is
    stopped there. Both are rung for; without the bell they are found out within three seconds."""
    conversation = await a.new_conversation()
    async with a.socket(conversation) as asker, b.socket(conversation) as viewer:
        await viewer.until(caught_up)
        await asker.send("[[talk]]")
        first = await listen(viewer, until=says("w0001@"))
        asked = time.monotonic()
        await stopped(b, viewer, asker)
        return first[0], time.monotonic() - asked


async def stopped(client: Client, *sockets: Socket) -> None:
    """Stopped there, it ends here soon enough."""
    turn = sockets[0].folded.events[1]["turn"]
    await client.call("POST", f"/api/v1/turns/{turn}/stop/")
    await asyncio.gather(*(socket.until(ended(), seconds=LATE) for socket in sockets))


async def hear_for(viewer: Socket, *, since: float, seconds: float) -> list[float]:
    """How far behind the words come that are said from `since` on, for some seconds."""
    return await listen(viewer, until=lambda _: time.time() > since + seconds, since=since)


async def test_a_process_is_interrupted_in_time_though_redis_hangs(
    kind: Kind, pair: Cluster, provider: ProviderProcess
) -> None:
    """What would tell of its turn says nothing any more; the turn is given back all the same."""
    provider.script(named={"brief": BRIEF})
    conversation = await pair.clients[0].new_conversation()
    with await asyncio.to_thread(pair.site.start, kind) as server:
        async with pair.client(server).socket(conversation) as viewer:
            await viewer.send("[[brief]]")
            await viewer.until(says("Not yet"))
            pair.redis.pause()
            since = time.monotonic()
            server.interrupt()
            try:
                await asyncio.gather(viewer.until_closed(), asyncio.to_thread(server.wait))
                seconds = time.monotonic() - since
            finally:
                pair.redis.resume()

    await asyncio.to_thread(provider.open_gate, "brief")
    async with pair.clients[0].socket(conversation, folded=viewer.folded.reconnected()) as viewer:
        await viewer.until(ended(), seconds=LATE)
    assert viewer.folded.events[2]["data"]["reason"] == "released"
    assert seconds <= 2.0


async def test_a_redis_that_is_gone_for_good_costs_time_and_nothing_else(
    pair_without_redis: Cluster, provider: ProviderProcess
) -> None:
    """R12, R18: turns are started, followed, stopped and ended as ever."""
    provider.script(named={"talk": TALK, "brief": BRIEF})
    provider.open_gate("brief")
    answers: list[Any] = []

    for a, b in (pair_without_redis.clients, pair_without_redis.clients[::-1]):
        conversation = await a.new_conversation()
        async with a.socket(conversation) as asker, b.socket(conversation) as viewer:
            await viewer.until(caught_up)
            await asker.send("[[brief]]")
            await viewer.until(ended(), seconds=LATE)
            await viewer.send("[[talk]]")
            await asker.until(says("w0002@"), seconds=LATE)
            turn = asker.folded.events[4]["turn"]
            await a.call("POST", f"/api/v1/turns/{turn}/stop/")
            await asyncio.gather(*(socket.until(ended(2), seconds=LATE) for socket in (asker, viewer)))
            fresh = await fresh_read(a, conversation)
            assert viewer.folded.events == asker.folded.events == fresh.events
            answers += [event["data"]["status"] for event in fresh.events.values() if event["kind"] == "turn_ended"]

    assert answers == ["completed", "cancelled"] * 2
    assert pair_without_redis.tracebacks() == []
