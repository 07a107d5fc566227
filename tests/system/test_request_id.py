"""Asking twice: one request id, however many sockets and processes send it at once, is one turn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from streaming.frames import Accepted, Error
from tests.client import Client, caught_up, ended
from tests.provider import ProviderProcess
from tests.server import Kind, NewSite
from tests.system.held import kinds
from tests.system.viewers import fresh_read

SOCKETS = 64


async def assert_one_turn(clients: list[Client], provider: ProviderProcess) -> None:
    """All send the same request id at once; the provider answers only when all have been told that it is accepted."""
    provider.script([{"gate": "all-accepted"}, {"text": "One answer."}])
    conversation = await clients[0].new_conversation()
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(clients[at % len(clients)].socket(conversation)) for at in range(SOCKETS)
        ]
        await asyncio.gather(*(socket.until(caught_up) for socket in sockets))

        await asyncio.gather(*(socket.send("One question.", request_id="the-one") for socket in sockets))
        await asyncio.gather(*(socket.until(lambda s: bool(s.answers)) for socket in sockets))
        accepted = [socket.answers[0] for socket in sockets]
        await asyncio.to_thread(provider.open_gate, "all-accepted")
        await asyncio.gather(*(socket.until(ended()) for socket in sockets))

        await sockets[0].send("Another question.", request_id="the-one")
        refused = await sockets[0].answer()
        await sockets[1].send("One question.", request_id="the-one")
        repeated = await sockets[1].answer()

    assert isinstance(accepted[0], Accepted)
    assert accepted == [accepted[0]] * SOCKETS
    assert not accepted[0].cached
    assert len(provider.log()) == 1
    fresh = await fresh_read(clients[0], conversation)
    assert kinds(fresh) == ["user_message", "assistant_message", "turn_ended"]
    assert fresh.events[2]["data"]["text"] == "One answer."
    for socket in sockets:
        assert (socket.folded.events, socket.folded.runs) == (fresh.events, [])
    assert isinstance(refused, Error)
    assert (refused.code, refused.request_id) == ("request_conflict", "the-one")
    assert isinstance(repeated, Accepted)
    assert (repeated.turn, repeated.cursor, repeated.cached) == (accepted[0].turn, accepted[0].cursor, True)


async def test_64_sockets_with_one_request_id_get_one_turn(client: Client, provider: ProviderProcess) -> None:
    await assert_one_turn([client], provider)


async def test_64_sockets_on_two_processes_with_one_request_id_get_one_turn(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    site, key = new_site()
    quick = {"POSITION_POLL": 0.1}  # so that the process that does not run the turn hears of it soon
    with site.start(kind, chat=quick) as first, site.start(kind, chat=quick) as second:
        await assert_one_turn([Client(server.url, key=key) for server in (first, second)], provider)
