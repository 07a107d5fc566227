"""What is started on one process is seen on every other, on whichever server and database."""

from __future__ import annotations

import asyncio

from tests.client import ended
from tests.provider import ProviderProcess
from tests.system.cluster import Cluster
from tests.system.held import kinds
from tests.system.viewers import fresh_read


async def test_a_turn_is_seen_on_every_process_wherever_it_was_started(
    cluster: Cluster, provider: ProviderProcess
) -> None:
    provider.script([{"text": "Everywhere."}])
    seen: list[list[str]] = []

    for asking in cluster.clients:
        conversation = await asking.new_conversation()
        async with asking.socket(conversation) as socket:
            await socket.send("Where?")
            await socket.until(ended())
        seen += [
            kinds(fresh) for fresh in await asyncio.gather(*(fresh_read(c, conversation) for c in cluster.clients))
        ]

    assert seen == [["user_message", "assistant_message", "turn_ended"]] * 16
    assert len(provider.log()) == 4
