"""The doorbell between processes, on a real Redis."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import BaseChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from streaming.doorbell import Doorbell, Ring, shared
from tests.redis import RedisProcess

Connect = Callable[[], BaseChannelLayer]


class Process:
    """One end of the doorbell, and what it has heard."""

    def __init__(self, layer: BaseChannelLayer) -> None:
        self.id = uuid4()
        self.heard: asyncio.Queue[Ring] = asyncio.Queue()
        self.doorbell = Doorbell(layer, engine=self.id, loop=asyncio.get_running_loop(), heard=self.heard.put_nowait)

    async def hears(self, wanted: Callable[[Ring], bool] = lambda ring: True) -> Ring:
        """The next ring that is wanted."""
        async with asyncio.timeout(30):
            while not wanted(ring := await self.heard.get()):
                pass
        return ring

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[Process]:
        chores = [asyncio.create_task(chore()) for chore in (self.doorbell.send, self.doorbell.listen)]
        try:
            yield self
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


@pytest.fixture
def connect(redis: RedisProcess) -> Connect:
    return partial(RedisPubSubChannelLayer, hosts=[redis.url])


@pytest.fixture
async def two(connect: Connect) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes that hear each other."""
    async with Process(connect()).alive() as one, Process(connect()).alive() as other:
        await one.hears()
        await other.hears()
        yield one, other


def told(ring: Ring) -> bool:
    return bool(ring.events or ring.drafts or ring.stops or ring.released or ring.rights)


async def test_what_is_rung_in_one_process_is_heard_in_the_other_and_not_in_itself(
    two: tuple[Process, Process],
) -> None:
    one, other = two
    conversation, draft, turn = uuid4(), uuid4(), uuid4()

    await asyncio.to_thread(one.doorbell.ring, event=(conversation, 7), drafts=[draft], stop=turn, released=True)
    heard = await other.hears(told)
    await asyncio.to_thread(other.doorbell.ring, rights=True)
    answer = await one.hears(told)

    assert heard.sender == one.id.hex
    assert (heard.events, heard.drafts, heard.stops) == ({str(conversation): 7}, {str(draft)}, {str(turn)})
    assert (heard.released, heard.rights) == (True, False)
    assert (answer.sender, answer.released, answer.rights) == (other.id.hex, False, True)


async def test_what_comes_while_a_ring_is_on_its_way_goes_out_as_one(two: tuple[Process, Process]) -> None:
    one, other = two
    conversations = {uuid4() for _ in range(300)}

    for conversation in conversations:
        one.doorbell.ring(event=(conversation, 1))
    heard = await other.hears(told)

    assert set(map(UUID, heard.events)) == conversations


@pytest.mark.parametrize(("numbers", "said"), [((7, 8), 8), ((8, 7), 8), ((0, 7), 0), ((7, 0), 0)])
async def test_the_newest_number_is_told_and_none_if_there_is_more_than_events(
    two: tuple[Process, Process], numbers: tuple[int, int], said: int
) -> None:
    """Two threads may tell of their commits in the other order."""
    one, other = two
    conversation = uuid4()

    for number in numbers:
        one.doorbell.ring(event=(conversation, number))
    heard = await other.hears(told)

    assert heard.events == {str(conversation): said}


async def test_after_redis_was_restarted_rings_are_heard_again(
    two: tuple[Process, Process], redis: RedisProcess
) -> None:
    """R18: nobody has to be restarted for it."""
    one, other = two

    await asyncio.to_thread(redis.kill)
    while not other.heard.empty():
        other.heard.get_nowait()
    await asyncio.to_thread(redis.start)
    await other.hears()
    one.doorbell.ring(released=True)

    assert (await other.hears(told)).released


async def test_a_redis_that_takes_connections_and_says_nothing_is_left(redis: RedisProcess, connect: Connect) -> None:
    """As one that is paused, or whose machine is gone."""
    taken: list[asyncio.StreamWriter] = []
    is_taken = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        is_taken.set()

    await asyncio.to_thread(redis.stop)
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", redis.port)
    async with Process(connect()).alive() as one:
        await is_taken.wait()
        silent.close()  # what it has taken stays open
        await asyncio.to_thread(redis.start)
        async with Process(connect()).alive() as other:
            other.doorbell.ring(released=True)
            heard = await one.hears()

    for writer in taken:
        writer.close()
    assert heard.sender == other.id.hex


class Away(RedisPubSubChannelLayer):  # type: ignore[misc]  # it has no types
    """Its Redis is not there."""

    tries = 0
    is_tired = asyncio.Event()

    async def new_channel(self, prefix: str = "") -> str:
        Away.tries += 1
        if Away.tries >= 20:
            self.is_tired.set()
        raise ConnectionError


async def test_a_redis_that_is_away_for_long_leaves_nothing_behind_for_each_try(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18: a loop keeps every layer that was used on it, to close it, and could not be closed for so many."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.Away"}}
    monkeypatch.setattr("streaming.doorbell.AGAIN", 0.0)
    layer = shared()
    assert layer is not None

    async with Process(layer).alive():
        await Away.is_tired.wait()

    gc.collect()
    assert sum(type(found) is Away for found in gc.get_objects()) == 2, "the site's, and the doorbell's"


async def test_a_layer_that_is_left_takes_nothing_of_others_with_it(redis: RedisProcess) -> None:
    """A site may use the same layer for groups of its own."""
    core = partial(RedisChannelLayer, hosts=[redis.url])
    site = core()
    channel = await site.new_channel()
    await site.group_add("theirs", channel)

    async with Process(core()).alive() as one, Process(core()).alive() as other:
        one.doorbell.ring(released=True)
        await other.hears()
    await site.group_send("theirs", {"type": "hello"})

    async with asyncio.timeout(10):
        assert await site.receive(channel) == {"type": "hello"}
    await site.close_pools()


async def test_a_process_that_ends_leaves_no_connection_behind(redis: RedisProcess, connect: Connect) -> None:
    async with Process(connect()).alive() as one, Process(connect()).alive() as other:
        await one.hears()
        await other.hears()
        during = await asyncio.to_thread(redis.tell, "CLIENT", "LIST")

    after = await asyncio.to_thread(redis.tell, "CLIENT", "LIST")
    assert len(during.splitlines()) >= 5
    assert len(after.splitlines()) == 1, "only who asks"


async def test_a_layer_that_takes_a_cancellation_for_its_own_keeps_nobody_alive(connect: Connect) -> None:
    """As `flush` of channels_redis does while it waits for its receiver."""
    is_closing = asyncio.Event()

    class Deaf(RedisPubSubChannelLayer):  # type: ignore[misc]  # it has no types
        async def new_channel(self, prefix: str = "") -> str:
            raise ConnectionError

        async def flush(self) -> None:
            is_closing.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with Process(Deaf()).alive():
            await is_closing.wait()

    assert is_closing.is_set()


def test_there_is_no_doorbell_where_nobody_would_hear_it(settings: Any, redis: RedisProcess) -> None:
    found = []
    for layers in (
        {},
        {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis.url]}}},
    ):
        settings.CHANNEL_LAYERS = layers
        found.append(shared() is not None)

    assert found == [False, False, True]
