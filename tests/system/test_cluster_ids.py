"""One request id, many callers at all processes: one call of the provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from typing import Any, NamedTuple

from websockets.exceptions import InvalidHandshake

from streaming.frames import Error
from tests.client import Client, Socket, caught_up, ended
from tests.provider import ProviderProcess
from tests.system.callers import CHAT, STREAMING_CHAT, Caller
from tests.system.cluster import Cluster, scaled

CALLERS = 64
WAVES, WAVE = scaled(20, 3), scaled(10, 2)
ANSWER = [{"text": "One "}, {"pause": 0.2}, {"text": "answer."}]


class Got(NamedTuple):
    """What a caller was told."""

    status: int
    turn: str | None
    said: str


async def test_request_ids_in_waves_each_from_64_callers_at_four_processes_get_one_call_each(
    cluster: Cluster, provider: ProviderProcess
) -> None:
    """R3: for JSON, for streams and on sockets; some come while it is answered, some when it has been."""
    provider.script(ANSWER)
    answers: list[list[Got]] = []

    for wave in range(WAVES):
        answers += await asyncio.gather(*(all_ask(cluster, f"wave-{wave}-{number}") for number in range(WAVE)))

    asked = Counter(entry["body"]["messages"][-1]["content"] for entry in provider.log())
    assert asked == {f"wave-{wave}-{number}": 1 for wave in range(WAVES) for number in range(WAVE)}
    told = Counter((got.status, got.said) for of_one_id in answers for got in of_one_id)
    assert told == {(200, "One answer."): WAVES * WAVE * CALLERS}
    assert [len({got.turn for got in of_one_id}) for of_one_id in answers] == [1] * len(answers)
    assert len({got.turn for of_one_id in answers for got in of_one_id}) == WAVES * WAVE


async def all_ask(cluster: Cluster, request_id: str) -> list[Got]:
    """64 callers at once, at four processes, each in its own way; the conversation is there already, and so are those
    who ask on sockets."""
    conversation = await cluster.clients[0].new_conversation()
    async with AsyncExitStack() as opened:
        asking: list[Coroutine[Any, Any, Got]] = []
        for at, client in enumerate(islice(cycle(cluster.clients), CALLERS)):
            if at % 3 == 0:
                socket = await opened.enter_async_context(let_in(client, conversation))
                asking.append(by_socket(await socket.until(caught_up), request_id))
            else:
                path = CHAT if at % 3 == 1 else STREAMING_CHAT
                asking.append(by_http(client, path, conversation, request_id))
        return await asyncio.gather(*asking)


@asynccontextmanager
async def let_in(client: Client, conversation: str) -> AsyncIterator[Socket]:
    """A socket. On a busy machine hundreds of handshakes at once take daphne longer than it waits for them: whose
    handshake it gives up comes again, as every client does."""
    async with AsyncExitStack() as opened:
        while True:
            try:
                socket = await opened.enter_async_context(client.socket(conversation))
            except InvalidHandshake:
                continue
            break
        yield socket


async def by_http(client: Client, path: str, conversation: str, request_id: str) -> Got:
    """Who is told that all are busy comes again, as it is told to."""
    caller = Caller(client.url, key=client.key)
    while True:
        told = await caller.ask(path, request_id, key=request_id, conversation_id=conversation)
        if told.status != 503:
            break
        assert "Retry-After" in told.headers
    tokens = [] if path == CHAT else [frame["data"]["token"] for frame in told.frames if frame["event"] == "token"]
    said = told.json.get("response") if path == CHAT else "".join(tokens)
    return Got(told.status, told.headers.get("X-Verbatim-Turn"), said)


async def by_socket(socket: Socket, request_id: str) -> Got:
    """The same on a socket."""
    await socket.send(request_id, request_id=request_id)
    while isinstance(answer := await socket.answer(), Error):
        assert answer.code == "busy"
        await socket.send(request_id, request_id=request_id)
    await socket.until(ended())
    return Got(200, socket.folded.events[1]["turn"], socket.folded.events[2]["data"]["text"])
