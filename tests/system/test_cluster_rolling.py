"""A deploy: every process is told to end and comes back, one after the other, while people talk."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from signal import SIGTERM
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from streaming.frames import Error
from tests import lightspeed
from tests.client import Client, Socket, ended
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import KINDS
from tests.sse import Reader
from tests.system.callers import CHAT, STREAMING_CHAT, Caller
from tests.system.cluster import DATABASES, FOUR, LONG, Cluster, Database, NewCluster, is_ready, scaled
from tests.system.held import kinds
from tests.system.viewers import fresh_read

GOING_AWAY, CUT = 1012, 1006
"""Who comes while a process ends may be cut off instead: for them that is the network, and they come back as well."""
DRAIN = 15.0 if LONG else 2.0
EXITED = DRAIN + 10.0
TALKERS, ASKERS, PROGRAMS = scaled(50, 15), scaled(50, 15), scaled(10, 4)
WORDS, RATE = scaled(1200, 200), 25
SPEECH, BRIEF = ("".join(f"w{number:04} " for number in range(1, count + 1)) for count in (WORDS, 15))
CALL = {"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}}
SCRIPTS: dict[str, Script] = {
    "long": [{"words": WORDS, "rate": RATE}],
    "brief": [[{"words": 15, "rate": RATE}, CALL], [{"words": 15, "rate": RATE}]],
}
"""An answer that no drain waits for, and one each of whose hops ends in time."""


@dataclass
class Person:
    """Somebody with a page open, which comes back elsewhere when its connection breaks, and asks again what it cannot
    know to have arrived. `closes` and `errors` are what they were told on the way."""

    cluster: Cluster
    conversation: str
    at: int
    folded: Folded = field(default_factory=Folded)
    closes: list[int | None] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def ask(self, text: str) -> None:
        """Ask, and see the answer to its end, wherever that is."""
        request_id = uuid4().hex
        turns = kinds(self.folded).count("turn_ended") + 1
        while kinds(self.folded).count("turn_ended") < turns:
            client = self.cluster.clients[self.at % len(self.cluster.servers)]
            try:
                async with client.socket(self.conversation, folded=self.folded) as socket:
                    await self._follow(socket, text, request_id=request_id, turns=turns)
            except TimeoutError:
                raise  # an OSError, too; but here it is an answer that never came
            except (OSError, InvalidHandshake, InvalidMessage):
                self.at += 1  # nobody is there, or takes new connections, just now

    async def _follow(self, socket: Socket, text: str, *, request_id: str, turns: int) -> None:
        try:
            await socket.send(text, request_id=request_id)
            await socket.until(ended(turns), seconds=90)
        except ConnectionClosed:
            self.closes.append(socket.connection.close_code)
            self.at += 1
        finally:
            self.errors += [answer.code for answer in socket.answers if isinstance(answer, Error)]


@dataclass
class Program:
    """One that asks for whole answers, or reads streams that it can only append, and asks again with the same key,
    elsewhere, until it has the answer. It is told nothing else on the way than that a process is draining."""

    cluster: Cluster
    path: str
    at: int
    answers: set[str] = field(default_factory=set)

    async def ask(self, text: str) -> None:
        """Ask until the answer is there."""
        reader, once, key = Reader(), self._whole if self.path == CHAT else self._streamed, uuid4().hex
        async with asyncio.timeout(120):
            while True:
                try:
                    if answer := await once(text, key=key, reader=reader):
                        self.answers.add(answer)
                        return
                except (aiohttp.ClientError, EOFError):
                    pass  # nobody is there, or takes new connections, just now; or the stream broke
                self.at += 1

    @property
    def _client(self) -> Client:
        return self.cluster.clients[self.at % len(self.cluster.servers)]

    async def _whole(self, text: str, *, key: str, reader: Reader) -> str:
        told = await Caller(self._client.url, key=self.cluster.key).ask(CHAT, text, key=key)
        if told.status == 200:
            return str(told.json["response"])
        assert b"draining" in told.body
        return ""

    async def _streamed(self, text: str, *, key: str, reader: Reader) -> str:
        async with lightspeed.with_key(self._client).ask(text, key=key, reader=reader) as stream:
            if stream.status == 200:
                await stream.until(lambda reader: "turn_complete" in lightspeed.names(reader), seconds=90)
                return lightspeed.text(reader)
            assert b"draining" in (await stream.to_the_end()).received
            return ""


@pytest.mark.parametrize("database", DATABASES if LONG else ["PostgreSQL"])
async def test_a_rolling_restart_of_all_processes_breaks_no_answer_and_asks_nothing_twice_that_ended_in_time(
    database: Database, new_cluster: NewCluster, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R8, R20: nobody is told anything but to come back, and everybody has every word."""
    provider.script(named=SCRIPTS)
    with new_cluster(database, kinds=FOUR if LONG else KINDS, chat={"DRAIN": DRAIN}) as cluster, ExitStack() as alive:
        people = [
            Person(cluster, await client.new_conversation(), at) for at, client in every(cluster, TALKERS + ASKERS)
        ]
        programs = [Program(cluster, path, at) for at in range(PROGRAMS // 2) for path in (CHAT, STREAMING_CHAT)]
        over = asyncio.Event()
        talking = [asyncio.create_task(person.ask("[[long]]")) for person in people[:TALKERS]]
        askers: list[Person | Program] = [*people[TALKERS:], *programs]
        asking = [asyncio.create_task(ask_on(asker, until=over)) for asker in askers]
        await provider.requests_async(TALKERS + len(asking))

        exits = [await roll(cluster, at, alive=alive) for at in range(len(cluster.servers))]
        over.set()
        await asyncio.gather(*talking, *asking)

        fresh = [await fresh_read(cluster.clients[0], person.conversation) for person in people]
        rows = cluster.rows("SELECT status, losses FROM verbatim_history_turn")
    asked = asked_by(provider)
    briefs = {question: count for question, count in asked.items() if question[0].startswith("[[brief]]")}
    measured(
        f"{len(rows)} turns over {len(exits)} restarts on {database}: exits after"
        f" {', '.join(f'{seconds:.1f} s' for _, seconds in exits)}; {len(briefs)} hops that end in time asked once"
    )
    for person, stored in zip(people, fresh, strict=True):
        assert (person.folded.events, person.folded.runs) == (stored.events, [])
        assert set(person.closes) <= {GOING_AWAY, CUT}
        assert set(person.errors) <= {"draining"}
    assert {answer for program in programs for answer in program.answers} == {2 * BRIEF}
    assert [texts(stored) for stored in fresh[:TALKERS]] == [[SPEECH]] * TALKERS
    assert {count for _, count in briefs.items()} == {1}
    closes = Counter(code for person in people for code in person.closes)
    assert closes[GOING_AWAY] > closes[CUT]
    assert set(rows) == {("completed", 0)}
    assert all(code in (0, -SIGTERM) and seconds <= EXITED for code, seconds in exits)


def every(cluster: Cluster, count: int) -> list[tuple[int, Client]]:
    """So many places, evenly over the processes."""
    clients = cluster.clients
    return [(at % len(clients), clients[at % len(clients)]) for at in range(count)]


async def ask_on(somebody: Person | Program, *, until: asyncio.Event) -> None:
    """Ask one question after the other."""
    while not until.is_set():
        await somebody.ask(f"[[brief]] {uuid4()}")


async def roll(cluster: Cluster, at: int, *, alive: ExitStack) -> tuple[int, float]:
    """End one process and start it again: its exit code, and how long it took to end, in seconds."""
    server = cluster.servers[at]
    server.terminate()
    since = time.monotonic()
    code = await asyncio.to_thread(server.wait)
    seconds = time.monotonic() - since
    chat = {"DRAIN": DRAIN, "MAX_TURNS_PER_USER": 10_000}
    again = await asyncio.to_thread(cluster.site.start, server.kind, port=server.port, chat=chat)
    cluster.servers[at] = alive.enter_context(again)
    assert await asyncio.to_thread(is_ready, again)
    return code, seconds


def asked_by(provider: ProviderProcess) -> Counter[tuple[str, int]]:
    """How often each hop of each question was asked for."""
    found: Counter[tuple[str, int]] = Counter()
    for entry in provider.log():
        messages: list[dict[str, Any]] = entry["body"]["messages"]
        newest = max(at for at, message in enumerate(messages) if message["role"] == "user")
        hop = sum(message["role"] == "assistant" for message in messages[newest:])
        found[str(messages[newest]["content"]), hop] += 1
    return found


def texts(folded: Folded) -> list[str]:
    return [event["data"]["text"] for event in folded.events.values() if event["kind"] == "assistant_message"]
