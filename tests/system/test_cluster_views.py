"""A turn that runs on one process, seen on others while it goes on, and stopped from one more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import cycle, islice

import pytest

from tests.client import Socket, caught_up, ended, says
from tests.provider import ProviderProcess
from tests.system.behind import BEHIND, listen, p99
from tests.system.cluster import Cluster, scaled
from tests.system.viewers import fresh_read

pytestmark = pytest.mark.alone
TALKS = scaled(40, 8)
WORDS = scaled(600, 60)
TALK = [{"words": 100_000, "rate": 20, "stamped": True}]


async def test_viewers_on_other_processes_are_hardly_behind_and_the_stop_comes_from_yet_another(
    cluster: Cluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R1, R12; started on A, viewed on A, B and C, stopped from D, with each process in each part."""
    provider.script(TALK)

    seen = await asyncio.gather(*(talk(cluster, number) for number in range(TALKS)))

    here = [behind for talked in seen for behind in talked[0]]
    elsewhere = [behind for talked in seen for behind in talked[1]]
    database = cluster.site.env["DATABASE_URL"].partition(":")[0]
    measured(
        f"{TALKS} talks on {database}: {len(elsewhere)} words came to other processes {p99(elsewhere) * 1e3:.0f} ms"
        f" after they were said (p99), {p99(here) * 1e3:.0f} ms on the process that asks"
    )
    assert len(elsewhere) > TALKS * WORDS
    assert p99(elsewhere) <= BEHIND


async def talk(cluster: Cluster, number: int) -> tuple[list[float], list[float]]:
    """How far behind the words came: on the process where the turn runs, and on others."""
    a, b, c, d = islice(cycle(cluster.clients), number % 4, number % 4 + 4)
    conversation = await a.new_conversation()
    async with AsyncExitStack() as opened:
        on_a, on_b, on_c = [await opened.enter_async_context(client.socket(conversation)) for client in (a, b, c)]
        for socket in (on_a, on_b, on_c):
            await socket.until(caught_up)

        await on_a.send("Talk!")
        said = says(f"w{WORDS:04}@")
        here, *elsewhere = await asyncio.gather(*(listen(socket, until=said) for socket in (on_a, on_b, on_c)))
        await d.call("POST", f"/api/v1/turns/{on_a.folded.events[1]['turn']}/stop/")
        await asyncio.gather(*(socket.until(ended()) for socket in (on_a, on_b, on_c)))

        await all_saw_what_is_stored(cluster, conversation, on_a, on_b, on_c)
        assert on_a.folded.events[3]["data"]["status"] == "cancelled"
        return here, [behind for words in elsewhere for behind in words]


async def all_saw_what_is_stored(cluster: Cluster, conversation: str, *sockets: Socket) -> None:
    fresh = await fresh_read(cluster.clients[0], conversation)
    for socket in sockets:
        assert (socket.folded.events, socket.folded.runs, socket.folded.resets) == (fresh.events, [], 0)
