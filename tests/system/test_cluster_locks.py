"""Somebody who holds a lock for seconds, as a backup, a migration or a forgotten console does, delays nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

import psycopg
import pytest

from tests.client import Client, Socket, caught_up, ended, says
from tests.provider import ProviderProcess, Script
from tests.system.behind import BEHIND, listen, p99
from tests.system.cluster import Cluster, NewCluster, scaled
from tests.system.viewers import fresh_read

pytestmark = pytest.mark.alone
LOCKED = scaled(20, 4)
LEASE = {"LEASE": 2.0, "LEASE_RENEWAL": 0.5}
SCRIPTS: dict[str, Script] = {"talk": [{"words": 100_000, "rate": 20, "stamped": True}], "brief": [{"text": "Brief."}]}


class Talk(NamedTuple):
    """A turn that talks until it is stopped, and who follows it."""

    conversation: str
    turn: str
    socket: Socket

    async def end(self, client: Client) -> None:
        """Stop it; who followed it has what is stored."""
        await self.socket.stop(self.turn)
        await self.socket.until(ended())
        fresh = await fresh_read(client, self.conversation)
        assert (self.socket.folded.events, self.socket.folded.runs) == (fresh.events, [])


@asynccontextmanager
async def asked(client: Client, text: str) -> AsyncIterator[Talk]:
    """A turn in a conversation of its own."""
    conversation = await client.new_conversation()
    async with client.socket(conversation) as socket:
        await socket.until(caught_up)
        await socket.send(text)
        await socket.until(lambda s: bool(s.folded.events))
        yield Talk(conversation, str(socket.folded.events[1]["turn"]), socket)


@contextmanager
def holding(cluster: Cluster, *, conversation: str, turn: str) -> Iterator[None]:
    """Have the row of a conversation locked, and the row of a turn in another one."""
    with psycopg.connect(cluster.site.env["DATABASE_URL"]) as holder:
        holder.execute("SELECT 1 FROM verbatim_history_conversation WHERE id = %s FOR UPDATE", [conversation])
        holder.execute("SELECT 1 FROM verbatim_history_turn WHERE id = %s FOR UPDATE", [turn])
        yield
        holder.rollback()


async def test_a_conversation_and_a_turn_that_are_locked_for_seconds_delay_no_other(
    new_cluster: NewCluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R10: not their text on other processes, not their ends, and not the leases of the process that has to wait."""
    provider.script(named=SCRIPTS)
    with new_cluster("PostgreSQL", kinds=("uvicorn", "daphne"), chat=LEASE) as cluster:
        a, b = cluster.clients
        async with AsyncExitStack() as opened:
            talks = [await opened.enter_async_context(asked(a, "[[talk]]")) for _ in range(3)]
            viewer = await opened.enter_async_context(b.socket(talks[2].conversation))
            for socket in (*(talk.socket for talk in talks), viewer):
                await socket.until(says("w0010@"))

            began = time.time()
            with holding(cluster, conversation=talks[0].conversation, turn=talks[1].turn):
                until = began + LOCKED
                hears = listen(viewer, until=lambda _: time.time() > until, since=began)
                behind, briefs = await asyncio.gather(hears, brief_turns(a, until=until))
            for talk in talks:
                await talk.end(b)
        lost = cluster.rows("SELECT id FROM verbatim_history_turn WHERE losses > 0 AND id <> %s", talks[1].turn)

    measured(
        f"two rows locked for {LOCKED} s: another's words came {p99(behind) * 1e3:.0f} ms after they were said (p99),"
        f" {len(briefs)} turns took {max(briefs):.2f} s at most"
    )
    assert p99(behind) <= BEHIND
    assert max(briefs) <= 2
    assert lost == []


async def brief_turns(client: Client, *, until: float) -> list[float]:
    """How long turns take from first to last, one after the other."""
    took: list[float] = []
    while time.time() < until:
        began = time.monotonic()
        async with asked(client, "[[brief]]") as talk:
            await talk.socket.until(ended())
        took.append(time.monotonic() - began)
    return took
