"""A process that is told to end in the middle of many answers: others get all of them at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from tests.client import Client, Socket, says
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, Kind
from tests.system.cluster import LONG, NewCluster, scaled

STREAMS = scaled(300, 50)
SCRIPT: Script = [{"words": 100_000, "rate": 5}]
DRAIN = 0.5


@pytest.mark.alone
@pytest.mark.parametrize("kind", KINDS if LONG else KINDS[:1], indirect=True)
async def test_all_of_many_answers_that_a_drain_breaks_off_are_given_back(
    kind: Kind, new_cluster: NewCluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R20: none has to wait until its lease lapses, and counts as lost."""
    provider.script(SCRIPT)
    with new_cluster("PostgreSQL", kinds=[kind], chat={"DRAIN": DRAIN}) as cluster:
        [server], [client] = cluster.servers, cluster.clients
        async with AsyncExitStack() as opened:
            for _ in range(STREAMS):
                socket = await asked(client, opened)
            await socket.until(says("w0003"))
            server.terminate()
            since = time.monotonic()
            await asyncio.to_thread(server.wait)
            seconds = time.monotonic() - since
        rows = cluster.rows("SELECT status, engine, losses FROM verbatim_history_turn")

    given_back = rows.count(("running", None, 0))
    measured(f"{kind}: {given_back} of {STREAMS} answers given back, gone {seconds - DRAIN:.1f} s after the drain")
    assert given_back == len(rows) == STREAMS
    assert not [line for line in server.lines if "is left as it is" in line or "Traceback" in line]


async def asked(client: Client, opened: AsyncExitStack) -> Socket:
    """Someone who has asked in a new conversation, and follows it."""
    socket = await opened.enter_async_context(client.socket(await client.new_conversation()))
    await socket.send("Go on.")
    await socket.until(lambda socket: bool(socket.folded.draft))
    return socket
