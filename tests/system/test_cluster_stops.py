"""Stops that come to another process than the one that runs the turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import cycle, islice
from statistics import median
from typing import NamedTuple

import pytest

from tests.client import Client, Socket, ended, says
from tests.lightspeed import with_key
from tests.provider import ProviderProcess
from tests.system.behind import p99
from tests.system.cluster import Cluster, scaled
from tests.system.viewers import fresh_read

WAVES, WAVE = scaled(25, 3), 8
pytestmark = pytest.mark.alone
TALK = [{"text": "Once upon"}, {"words": 100_000, "rate": 5}]


class Stopped(NamedTuple):
    """How a stop went: which question it was, when it was sent, and how long the turn took to end, in seconds."""

    question: str
    sent: float
    took: float


async def by_rest(client: Client, conversation: str, turn: str) -> None:
    await client.call("POST", f"/api/v1/turns/{turn}/stop/")


async def by_socket(client: Client, conversation: str, turn: str) -> None:
    async with client.socket(conversation) as socket:
        await socket.stop(turn)
        await socket.until(ended())


async def by_interrupt(client: Client, conversation: str, turn: str) -> None:
    status, _ = await with_key(client).interrupt(turn)
    assert status == 200


WAYS = (by_rest, by_interrupt, by_socket)


async def test_a_stop_from_any_other_process_closes_the_providers_connection_within_a_second(
    cluster: Cluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R12; by REST, by the socket and by lightspeed's interrupt."""
    provider.script(TALK)
    stops: list[Stopped] = []

    for wave in range(WAVES):
        talking = asyncio.Barrier(WAVE)
        numbers = range(wave * WAVE, (wave + 1) * WAVE)
        stops += await asyncio.gather(*(stop(cluster, number, all_talk=talking) for number in numbers))

    log = await provider.requests_async(len(stops), ended=True)
    closed_at = {entry["body"]["messages"][-1]["content"]: entry["ended_at"] for entry in log}
    closed = [closed_at[stopped.question] - stopped.sent for stopped in stops]
    measured(
        f"{len(stops)} stops from other processes: the provider's connection closed after"
        f" {median(closed) * 1000:.0f} ms (median), {p99(closed) * 1000:.0f} ms (p99); the turn ended after"
        f" {max(stopped.took for stopped in stops):.2f} s at most"
    )
    assert {entry["ended"] for entry in log} == {"closed by client"}
    assert len(log) == len(stops)
    assert median(closed) <= 1
    assert p99(closed) <= 2
    assert max(stopped.took for stopped in stops) <= 3


async def stop(cluster: Cluster, number: int, *, all_talk: asyncio.Barrier) -> Stopped:
    """Ask on one process, stop from another one."""
    asking, *others = islice(cycle(cluster.clients), number % 4, number % 4 + 4)
    stopping, looking = others[number // 4 % 3], others[(number // 4 + 1) % 3]
    conversation, question = await asking.new_conversation(), f"Question {number}"
    async with asking.socket(conversation) as viewer:
        await viewer.send(question)
        await viewer.until(says("Once upon"))
        turn = str(viewer.folded.events[1]["turn"])
        await all_talk.wait()

        sent = time.time()
        asked = asyncio.create_task(WAYS[number % 3](stopping, conversation, turn))
        await viewer.until(ended())
        took = time.time() - sent
        await asked

    await assert_cancelled(looking, conversation, viewer)
    return Stopped(question, sent, took)


async def assert_cancelled(client: Client, conversation: str, viewer: Socket) -> None:
    fresh = await fresh_read(client, conversation)
    assert viewer.folded.events == fresh.events
    _, message, end = [event["data"] for event in fresh.events.values()]
    assert message["text"].startswith("Once upon")
    assert (end["status"], end["error"]) == ("cancelled", None)
