"""One key, many callers: programs that want JSON, clients of streams and sockets, at two servers, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from itertools import cycle
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from streaming.frames import Accepted, Error
from tests.client import Client, Socket, caught_up, ended
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, NewSite, ServerProcess
from tests.system.callers import CHAT, COUNTING, STREAMING_CHAT, Caller, Told
from tests.system.held import kinds
from tests.system.viewers import fresh_read, stored_text

CALLERS = 64
KEY = "the-one"
QUESTION = "One question."
ANSWER: Script = [{"gate": "all-are-in"}, {"text": "One "}, {"text": "answer."}]
QUICK = {"POSITION_POLL": 0.1}
"""So that the process that does not run the turn hears of it soon."""


class Crowd(NamedTuple):
    """What became of everybody."""

    wholes: list[Told]
    streams: list[Told]
    sockets: list[Socket]


async def all_ask(servers: list[ServerProcess], provider: ProviderProcess, *, key: str, conversation: str) -> Crowd:
    """64 callers, at all servers and over three transports in turn; nobody answers before all are in."""
    async with AsyncExitStack() as stack:
        places = [server for _, server in zip(range(CALLERS), cycle(servers), strict=False)]
        of_json, of_streams, of_sockets = places[:21], places[21:42], places[42:]
        sockets = [
            await stack.enter_async_context(Client(server.url, key=key).socket(conversation)) for server in of_sockets
        ]
        await asyncio.gather(*(socket.until(caught_up) for socket in sockets))
        begun = asyncio.Semaphore(0)

        def asks(path: str, at: ServerProcess, begun: Callable[[], None] = lambda: None) -> asyncio.Task[Told]:
            caller = Caller(at.url, key=key)
            return asyncio.create_task(caller.ask(path, QUESTION, key=KEY, conversation_id=conversation, begun=begun))

        wholes = [asks(CHAT, server) for server in of_json]
        streams = [asks(STREAMING_CHAT, server, begun.release) for server in of_streams]
        await asyncio.gather(*(socket.send(QUESTION, request_id=KEY) for socket in sockets))
        await asyncio.gather(*(socket.until(lambda s: bool(s.answers)) for socket in sockets))
        for _ in streams:
            await begun.acquire()
        for server in servers:
            await Caller(server.url, key=key).counted(viewers=places.count(server))
        assert not any(task.done() for task in wholes + streams)
        assert len(await provider.requests_async(1)) == 1

        await asyncio.to_thread(provider.open_gate, "all-are-in")
        await asyncio.gather(*(socket.until(ended()) for socket in sockets))
        return Crowd(await asyncio.gather(*wholes), await asyncio.gather(*streams), sockets)


def text_of(stream: Told) -> str:
    return "".join(frame["data"]["token"] for frame in stream.frames if frame["event"] == "token")


@pytest.mark.parametrize("database", ["new_site", "new_postgres_site"])
async def test_64_callers_with_one_key_over_three_transports_at_two_servers_get_one_answer(
    database: str, request: pytest.FixtureRequest, provider: ProviderProcess
) -> None:
    """R3."""
    new_site: NewSite = request.getfixturevalue(database)
    site, key = new_site()
    provider.script(ANSWER)
    with ExitStack() as alive:
        servers = [alive.enter_context(site.start(kind, chat=QUICK, application=COUNTING)) for kind in KINDS]
        client = Client(servers[0].url, key=key)
        conversation = await client.new_conversation()

        crowd = await all_ask(servers, provider, key=key, conversation=conversation)
        fresh = await fresh_read(client, conversation)
        await replays_are_the_same(servers, crowd, key=key, conversation=conversation)
        await nobody_else_learns_anything(servers, crowd, key=site.key_for("bob"), conversation=conversation)

    assert len(crowd.wholes) + len(crowd.streams) + len(crowd.sockets) == CALLERS
    assert [entry["body"]["messages"][-1]["content"] for entry in provider.log()] == [QUESTION, "Mine."]
    assert kinds(fresh) == ["user_message", "assistant_message", "turn_ended"]
    assert stored_text(fresh) == "One answer."
    assert {whole.body for whole in crowd.wholes} == {crowd.wholes[0].body}
    assert crowd.wholes[0].json["response"] == "One answer."
    assert not any("Idempotency-Replayed" in whole.headers for whole in crowd.wholes)
    for stream in crowd.streams:
        assert text_of(stream) == "One answer."
        assert stream.frames[-1]["event"] == "end"
    for socket in crowd.sockets:
        assert (socket.folded.events, socket.folded.runs) == (fresh.events, [])
    accepted = [socket.answers[0] for socket in crowd.sockets]
    turns = {answer.turn for answer in accepted if isinstance(answer, Accepted)}
    turns |= {told.headers["X-Verbatim-Turn"] for told in crowd.wholes + crowd.streams}
    assert turns == {crowd.wholes[0].json["turn"]}


async def replays_are_the_same(servers: list[ServerProcess], crowd: Crowd, *, key: str, conversation: str) -> None:
    """Who comes when it is over gets what is stored, at every door; with other words, nothing."""
    whole = crowd.wholes[0]
    streams = set()
    for server in servers:
        caller = Caller(server.url, key=key)
        again = await caller.ask(CHAT, QUESTION, key=KEY, conversation_id=conversation)
        opened = await caller.ask(CHAT, QUESTION, key=KEY)
        by_turn = await caller.get(f"/api/v1/turns/{whole.json['turn']}/response/")
        for told in (again, opened, by_turn):
            assert (told.status, told.body, told.headers["Idempotency-Replayed"]) == (200, whole.body, "true")
        stream = await caller.ask(STREAMING_CHAT, QUESTION, key=KEY, conversation_id=conversation)
        assert (text_of(stream), stream.headers["Idempotency-Replayed"]) == ("One answer.", "true")
        streams.add(stream.body)
        for path in (CHAT, STREAMING_CHAT):
            other = await caller.ask(path, "Another question.", key=KEY, conversation_id=conversation)
            assert (other.status, b"request_conflict" in other.body) == (422, True)
        async with Client(server.url, key=key).socket(conversation) as socket:
            await socket.send(QUESTION, request_id=KEY)
            cached = await socket.answer()
            await socket.send("Another question.", request_id=KEY)
            refused = await socket.answer()
        assert isinstance(cached, Accepted)
        assert (cached.turn, cached.cached) == (whole.json["turn"], True)
        assert isinstance(refused, Error)
        assert (refused.code, refused.request_id) == ("request_conflict", KEY)
    assert len(streams) == 1


async def nobody_else_learns_anything(
    servers: list[ServerProcess], crowd: Crowd, *, key: str, conversation: str
) -> None:
    """Bob, who has guessed everything: the key, the conversation, the turn."""
    turn = crowd.wholes[0].json["turn"]
    for server in servers:
        bob = Caller(server.url, key=key)
        for path in (CHAT, STREAMING_CHAT):
            foreign = await bob.ask(path, QUESTION, key=KEY, conversation_id=conversation)
            missing = await bob.ask(path, QUESTION, key=KEY, conversation_id=str(uuid4()))
            assert foreign.status == missing.status == 404
            assert same(foreign) == same(missing)
        for path in ("/api/v1/turns/{}/response/", "/api/v1/turns/{}/stream/"):
            foreign, missing = await bob.get(path.format(turn)), await bob.get(path.format(uuid4()))
            assert foreign.status == missing.status == 404
            assert same(foreign) == same(missing)
    own = await bob.ask(CHAT, "Mine.", key=KEY)
    assert (own.status, "Idempotency-Replayed" in own.headers) == (200, False)
    assert own.json["turn"] != turn


def same(told: Told) -> Any:
    """What of an answer must not tell one from another."""
    return told.body, {name: value for name, value in told.headers.items() if name.lower() != "date"}
