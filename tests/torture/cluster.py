"""The cluster that is tortured: server processes of both kinds, a database, a Redis and a provider, with lines in
between that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from tests.postgres_server import PostgresProcess
from tests.provider import ProviderProcess
from tests.redis import RedisProcess
from tests.server import KINDS, Kind, ServerProcess, Site
from tests.torture import tools
from tests.torture.lines import Line
from tests.torture.notes import VARIABLE, Notes

Database = Literal["sqlite", "postgres"]

DATABASE = "torture"
CHAT: Mapping[str, Any] = {
    "LEASE": 2.0,
    "LEASE_RENEWAL": 0.5,
    "POSITION_POLL": 4.0,
    "DRAIN": 2.0,
    "MISSING_DRAFT": 1.0,
    "HEARTBEAT": 2.0,
    "STALL_TIMEOUT": 2.0,
    "MAX_TURNS_PER_USER": 10_000,
    "TOOLS": tools.PATHS,
    "TITLES": True,
    "DEFAULT_PROFILE": "scripted",
}
"""Everything is short, so that much can go wrong in an hour; but for the poll behind the doorbell, which is slow, so
that viewers who hear nothing of it are seen to be late."""
WITHOUT_REDIS: Mapping[str, Any] = {"POSITION_POLL": 1.0}

MUTANT = "TORTURE_MUTANT"
"""The variable that says which mutant of the product runs, if one does."""
APPLICATION = "tests.torture.stage:application"
ENGINE = re.compile("engine ([0-9a-f-]{36}) started")
EXIT = CHAT["DRAIN"] + 10.0
"""How long a server may take to end after SIGTERM, in seconds; after twice that it is killed."""


def chat(*, redis: bool) -> dict[str, Any]:
    """The settings of a cluster with a Redis, or without."""
    return dict(CHAT) if redis else {**CHAT, **WITHOUT_REDIS}


@dataclass
class Member:
    """One server process, at a port it keeps, and the lines that lead to it and away from it."""

    name: str
    kind: Kind
    env: dict[str, str]
    application: str
    front: Line = field(default_factory=Line)
    to_redis: Line = field(default_factory=Line)
    to_database: Line = field(default_factory=Line)
    to_provider: Line = field(default_factory=Line)
    process: ServerProcess | None = None
    pids: list[int] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    paused: bool = False

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.front.port}"

    @property
    def life(self) -> str:
        """The name of its process, which is another one after each start."""
        return f"{self.name}.{len(self.pids)}"

    @property
    def engine(self) -> str | None:
        """The id of its engine, from its log."""
        found = (ENGINE.search(line) for line in self.process.lines) if self.process is not None else ()
        return next((match[1] for match in found if match), None)

    @property
    def everything(self) -> list[str]:
        """All lines of its log, in all of its lives."""
        return self.log + (self.process.lines if self.process else [])

    @property
    def is_up(self) -> bool:
        """Whether it can be expected to answer."""
        return self.process is not None and not self.paused

    async def start(self) -> None:
        """Listening when this returns. A machine that has too much to do is asked again."""
        for last in (False, False, True):
            try:
                process = await asyncio.to_thread(
                    ServerProcess, self.kind, env=self.env, port=self.front.to, application=self.application
                )
                break
            except RuntimeError:
                if last:
                    raise
        self.front.to = process.port
        self.process = process
        self.pids.append(process.pid)
        self.paused = False

    async def kill(self) -> None:
        """SIGKILL; gone when this returns."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)  # at once: the thread below may have to wait for its turn
        await self._gone()

    async def end(self, how: signal.Signals) -> int:
        """A signal, and SIGKILL if it does not end; the exit code."""
        assert self.process is not None
        os.kill(self.process.pid, how)
        return await self._gone()

    def pause(self) -> None:
        """SIGSTOP."""
        assert self.process is not None
        self.paused = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False

    async def close(self) -> None:
        """Whatever it is doing."""
        if self.process is not None:
            await self.kill()
        for line in (self.front, self.to_redis, self.to_database, self.to_provider):
            await line.close()

    async def _gone(self) -> int:
        process, self.process = self.process, None
        assert process is not None
        try:
            return await asyncio.to_thread(process.wait, 2 * EXIT)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            process.__exit__(None, None, None)  # kills what is still there
            self.log += process.lines


@dataclass
class Cluster:
    """All of it. `key` is the API key of its user."""

    members: list[Member]
    provider: ProviderProcess
    redis: RedisProcess | None
    postgres: PostgresProcess | None
    key: str
    notes: Notes
    database_url: str
    """Where the database is for whoever reads it from outside."""
    _lives: dict[str, str] = field(default_factory=dict)
    """Processes by their engines."""

    @property
    def up(self) -> list[Member]:
        """Those that can be expected to answer."""
        return [member for member in self.members if member.is_up]

    @property
    def pids(self) -> list[int]:
        """Those of the processes that take part, this one too; not of the stores."""
        servers = [member.process.pid for member in self.members if member.process is not None]
        return [os.getpid(), self.provider.pid, *servers]

    def process_of(self, engine: str | None) -> str | None:
        """The process that logged this engine's start, if it has been seen while it lived."""
        for member in self.members:
            if (known := member.engine) is not None:
                self._lives.setdefault(known, member.life)
        return self._lives.get(engine or "")

    def owner_of(self, pid: int) -> Member | None:
        """The member whose process this is, if it still is."""
        return next((member for member in self.members if member.process and member.process.pid == pid), None)


@asynccontextmanager
async def cluster(
    folder: Path, *, servers: int, database: Database, redis: bool, mutant: str = ""
) -> AsyncIterator[Cluster]:
    """A cluster of so many servers, all of them up; ended with the block."""
    async with AsyncExitStack() as stack:
        provider = stack.enter_context(await asyncio.to_thread(ProviderProcess))
        store = stack.enter_context(await asyncio.to_thread(PostgresProcess)) if database == "postgres" else None
        bell = stack.enter_context(await asyncio.to_thread(RedisProcess)) if redis else None
        url = store.create(DATABASE) if store else f"sqlite:///{folder / 'site.sqlite3'}"
        site = await asyncio.to_thread(Site, folder, provider_url=provider.base_url, database_url=url)
        key = await asyncio.to_thread(site.key_for, "ada")
        notes = Notes(folder / "notes.jsonl")
        stack.callback(notes.close)
        env = {
            **site.env,
            VARIABLE: str(notes.path),
            "CHAT_OVERRIDES": json.dumps(chat(redis=redis)),
            MUTANT: mutant,
        }
        members = [
            Member(name, kind, dict(env), "tests.torture.mutants:application" if mutant else APPLICATION)
            for name, kind in zip("abcdefgh", islice(cycle(KINDS), servers), strict=False)
        ]
        for member in members:
            await _connect(member, provider=provider, redis=bell, postgres=store)
            stack.push_async_callback(member.close)
        for failure in await asyncio.gather(*(member.start() for member in members), return_exceptions=True):
            if failure is not None:
                raise failure
        yield Cluster(members, provider, bell, store, key, notes, url)


async def _connect(
    member: Member, *, provider: ProviderProcess, redis: RedisProcess | None, postgres: PostgresProcess | None
) -> None:
    """Lay its lines; what is in a file needs none."""
    await member.front.open()
    member.to_provider.to = provider.port
    await member.to_provider.open()
    profile = {
        "name": "scripted",
        "base_url": provider.base_url.replace(f":{provider.port}/", f":{member.to_provider.port}/"),
        "prices": {"input": "1.5", "output": "6"},
    }
    told = {**json.loads(member.env["CHAT_OVERRIDES"]), "PROFILES": [profile]}
    member.env["CHAT_OVERRIDES"] = json.dumps(told)
    if redis is not None:
        member.to_redis.to = redis.port
        await member.to_redis.open()
        member.env["REDIS_URL"] = f"redis://127.0.0.1:{member.to_redis.port}/0"
    if postgres is not None:
        member.to_database.to = postgres.port
        await member.to_database.open()
        member.env["DATABASE_URL"] = postgres.uri(DATABASE).replace(
            f":{postgres.port}/", f":{member.to_database.port}/"
        )
