"""Several processes of one site, on both servers, with one database and one Redis; and how tests look into them."""

from __future__ import annotations

import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import psycopg

from tests.client import Client
from tests.redis import RedisProcess
from tests.server import KINDS, Kind, ServerProcess, Site

LONG = os.environ.get("LONG") == "1"
"""Whether the numbers of the promises are tried as they are, or smaller ones that fit into a test run."""

Database = Literal["PostgreSQL", "SQLite"]
DATABASES: tuple[Database, ...] = ("PostgreSQL", "SQLite")
FOUR: tuple[Kind, ...] = (*KINDS, *KINDS)
UNLIMITED: Mapping[str, Any] = {"MAX_TURNS_PER_USER": 10_000}


def scaled(long: int, short: int) -> int:
    """The first in the long form, else the second."""
    return long if LONG else short


@dataclass(frozen=True, slots=True)
class Cluster:
    """Its servers listen, and their engines run."""

    site: Site
    key: str
    redis: RedisProcess
    servers: list[ServerProcess] = field(default_factory=list)

    @property
    def clients(self) -> list[Client]:
        """The one user, at each of the servers."""
        return [self.client(server) for server in self.servers]

    def client(self, server: ServerProcess) -> Client:
        return Client(server.url, key=self.key)

    def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """What is in the database; `%s` stands for an argument."""
        url = self.site.env["DATABASE_URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
                return connection.execute(
                    query.replace("%s", "?"), [bare(argument) for argument in arguments]
                ).fetchall()
        with psycopg.connect(url, autocommit=True) as connected:
            return connected.execute(query, arguments).fetchall()

    def tracebacks(self) -> list[str]:
        """Lines of the servers' logs that nothing justifies."""
        return [line for server in self.servers for line in server.lines if "Traceback" in line or "locked" in line]


def bare(value: Any) -> Any:
    """As SQLite has it: ids without dashes."""
    return value.replace("-", "") if isinstance(value, str) and value.count("-") == 4 else value


class NewCluster(Protocol):
    """Makes clusters with a database and an environment of their own, for tests that end servers."""

    def __call__(
        self, database: Database, *, kinds: Sequence[Kind] = FOUR, chat: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Cluster]: ...


@contextmanager
def started(
    site: Site, *, key: str, redis: RedisProcess, kinds: Sequence[Kind] = FOUR, chat: Mapping[str, Any] | None = None
) -> Iterator[Cluster]:
    """A cluster of these servers. They start at the same time, and each is asked once: daphne has no engine before."""
    with ExitStack() as alive, ThreadPoolExecutor() as pool:

        def start(kind: Kind) -> ServerProcess:
            server = site.start(kind, chat={**UNLIMITED, **(chat or {})})
            alive.push(server)
            is_ready(server)
            return server

        yield Cluster(site, key, redis, list(pool.map(start, kinds)))


def is_ready(server: ServerProcess) -> bool:
    """Whether it says that it takes new turns."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{server.url}/ready/", timeout=60):
            return True
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
