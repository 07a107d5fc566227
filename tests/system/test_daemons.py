"""The databases that the tests of a cluster end, pause and start again."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres_server import PostgresProcess
from tests.redis import RedisProcess


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    with PostgresProcess() as process:
        yield process


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    with RedisProcess() as process:
        yield process


def test_redis_forgets_what_it_knew_when_it_is_flushed_restarted_or_killed(redis: RedisProcess) -> None:
    url, known = redis.url, []

    for forget in (redis.flushall, redis.restart, redis.kill):
        redis.tell("SET", "greeting", "hello")
        known.append(redis.tell("GET", "greeting"))
        forget()
        if forget == redis.kill:
            redis.start()
        known.append(redis.tell("GET", "greeting"))

    assert known == ["hello", ""] * 3
    assert redis.url == url


async def test_a_paused_redis_answers_when_it_goes_on(redis: RedisProcess) -> None:
    redis.pause()
    asked = asyncio.create_task(asyncio.to_thread(redis.tell, "PING"))
    answered, _ = await asyncio.wait([asked], timeout=0.5)

    redis.resume()

    assert not answered
    assert await asked == "PONG"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_postgres_comes_back_with_its_data_where_it_was(postgres: PostgresProcess, how: signal.Signals) -> None:
    address = postgres.create(f"lasting_{how.name.lower()}")
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    postgres.stop(how)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)
    postgres.start()

    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_database_is_made_of_another(postgres: PostgresProcess) -> None:
    with psycopg.connect(postgres.create("pattern")) as connection:
        connection.execute("CREATE TABLE copied AS SELECT 'yes'::text AS said")

    copy = postgres.create("copy", template="pattern")

    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT said FROM copied").fetchone() == ("yes",)


def test_a_paused_postgres_answers_when_it_goes_on(postgres: PostgresProcess) -> None:
    answers: list[object] = []
    with psycopg.connect(postgres.uri()) as connection:
        postgres.pause()
        asking = threading.Thread(target=lambda: answers.append(connection.execute("SELECT 1").fetchone()))
        asking.start()
        asking.join(0.5)
        silent = not answers

        postgres.resume()
        asking.join(10)

    assert silent
    assert answers == [(1,)]
