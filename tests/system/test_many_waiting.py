"""Many who wait at one process that has few connections to its database: all are served, and nobody has a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

import psutil
import psycopg

from tests.provider import ProviderProcess, Script
from tests.server import Kind, NewSite, Site
from tests.sse import Reader
from tests.system.callers import CHAT, COUNTING, Caller, Told

POOL = 4
READERS = WAITERS = 100
SPARE = 8
"""Threads that come with use and stay, however many wait: of the pool, of resolvers, of the loop."""
ANSWER: Script = [{"text": "One "}, {"gate": "all-are-in"}, {"text": "answer."}]


@contextmanager
def connections_at(site: Site) -> Iterator[list[int]]:
    """How many connections the database has, beside this one, counted all the while."""
    counts: list[int] = []
    over = threading.Event()
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as connection:

        def count() -> None:
            while not over.wait(0.02):
                row = connection.execute(query).fetchone()
                assert row is not None
                counts.append(row[0])

        thread = threading.Thread(target=count)
        thread.start()
        try:
            yield counts
        finally:
            over.set()
            thread.join()


async def read_conversation(caller: Caller, conversation: str, *, sees: Callable[[], None]) -> str:
    """Follow a conversation from now on until its turn has ended; the text of its answer. `sees` is called with the
    first of it."""
    reader = Reader()
    async with caller.request("GET", f"/api/v1/conversations/{conversation}/stream/") as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            had = is_shown(reader)
            reader.feed(chunk)
            if is_shown(reader) and not had:
                sees()
            if any(message.json.get("kind") == "turn_ended" for message in reader.messages):
                break
    frames = [message.json for message in reader.messages]
    (text,) = [frame["data"]["text"] for frame in frames if frame.get("kind") == "assistant_message"]
    shown = "".join(frame["text"] for frame in frames if frame["type"] == "delta")
    assert text.startswith(shown)
    return str(text)


def is_shown(reader: Reader) -> bool:
    """Whether something of an answer has come."""
    return any(message.json["type"] == "delta" for message in reader.messages)


async def test_100_readers_and_100_waiting_callers_share_4_connections_and_have_no_threads(
    kind: Kind, new_postgres_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R17."""
    site, key = new_postgres_site()
    site.env["DATABASE_POOL_MAX"] = str(POOL)
    provider.script(ANSWER)
    with (
        site.start(kind, chat={"MAX_TURNS_PER_USER": WAITERS}, application=COUNTING) as server,
        connections_at(site) as connections,
    ):
        caller = Caller(server.url, key=key)
        process = psutil.Process(server.pid)
        async with asyncio.TaskGroup() as tasks:
            seen = asyncio.Semaphore(0)
            conversations = [await caller.create() for _ in range(WAITERS)]
            before = process.num_threads()
            readers = [
                tasks.create_task(read_conversation(caller, conversation, sees=seen.release))
                for conversation in conversations
            ]
            waiters = [
                tasks.create_task(caller.ask(CHAT, "One question.", conversation_id=conversation))
                for conversation in conversations
            ]
            for _ in readers:
                await seen.acquire()
            await caller.counted(viewers=READERS + WAITERS)
            await provider.requests_async(WAITERS)
            during = process.num_threads()
            assert not any(task.done() for task in readers + waiters)
            await asyncio.to_thread(provider.open_gate, "all-are-in")
        after = await caller.counted(viewers=0)

    measured(f"{kind}: {before} threads, {during} with {READERS + WAITERS} waiting; {max(connections)} connections")
    assert {task.result() for task in readers} == {"One answer."}
    answers: list[Told] = [task.result() for task in waiters]
    assert {(told.status, told.json["response"]) for told in answers} == {(200, "One answer.")}
    assert len({told.json["turn"] for told in answers}) == WAITERS
    assert during <= before + SPARE
    assert len(connections) > 10
    assert quantiles(connections, n=100)[-1] <= POOL, "but for an instant in which one is replaced"
    assert after["tails"] == 0
    assert not [line for line in server.lines if "Traceback" in line or "took too long" in line]
