"""What every measurement stands on: a scripted provider, and sites with one user, made from one template."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.daemons import PostgresProcess, RedisProcess
from bench.environment import cleaned
from bench.measure import LOAD_CORE, SERVER_CORE, on_core
from bench.provider.process import ProviderProcess, Script
from bench.servers import Kind, ServerProcess, Site

RATE = 50
"""Words a second of each stream."""
USER = "bench"
ENDLESS = 1_000_000
PRODUCT = "config.asgi:application"
UNLIMITED: Mapping[str, Any] = {"MAX_TURNS_PER_USER": 100_000}
"""What must not stand in the way of one user with hundreds of turns."""


class Plan(NamedTuple):
    """How much is measured: streams, the seconds of one window, how often all is repeated; parts of cases' names."""

    streams: int
    seconds: float
    runs: int
    cases: Sequence[str]

    def wants(self, name: str) -> bool:
        """Whether the case of this name is to be run."""
        return not self.cases or any(part in name for part in self.cases)


class Stage:
    """The provider, and where sites and servers come from."""

    def __init__(self, folder: Path, *, provider: ProviderProcess) -> None:
        self.provider = provider
        self._folder = folder
        self._numbers = count(1)
        self._site = Site(folder, provider_url=provider.base_url)
        self.key = self._site.key_for(USER)

    def site(self) -> Site:
        """A site with an empty database of its own, and the one user."""
        file = shutil.copy(self._folder / "site.sqlite3", self._folder / f"site-{next(self._numbers)}.sqlite3")
        return self._site.at(f"sqlite:///{file}")

    @contextmanager
    def postgres_site(self) -> Iterator[tuple[Site, str]]:
        """A site on a PostgreSQL server of its own, and the key of its one user."""
        with PostgresProcess(durable=True) as postgres:
            site = Site(self._folder, provider_url=self.provider.base_url, database_url=postgres.create(USER))
            yield site, site.key_for(USER)

    @contextmanager
    def cluster(self) -> Iterator[tuple[Site, str]]:
        """A site for several processes: on PostgreSQL, with a Redis between them."""
        with self.postgres_site() as (site, key), RedisProcess() as redis:
            yield site.at(site.env["DATABASE_URL"], REDIS_URL=redis.url), key

    def verbatim(self, kind: Kind, *, site: Site | None = None, application: str = PRODUCT) -> ServerProcess:
        """The product, serving, alone on its core."""
        with on_core(SERVER_CORE):
            return (site or self.site()).start(kind, chat=UNLIMITED, application=application)

    def baseline(self, name: str, *, kind: Kind = "uvicorn", env: Mapping[str, str] | None = None) -> ServerProcess:
        """A baseline, serving, alone on its core."""
        whole = {**cleaned(os.environ), "OPENAI_BASE_URL": self.provider.base_url, **(env or {})}
        with on_core(SERVER_CORE):
            return ServerProcess(kind, env=whole, application=f"bench.baselines.{name}:application")

    def speak(self, **named: Script) -> None:
        """Have the provider answer with words without end, each with its time, but for scripts that are asked for."""
        self.provider.reset()
        self.provider.script(words(ENDLESS), named=named)


def words(count: int) -> Script:
    """So many words, each with its time."""
    return [{"words": count, "rate": RATE, "stamped": True}]


@contextmanager
def stage() -> Iterator[Stage]:
    """For as long as the block lasts. This process and the provider share the other core."""
    with TemporaryDirectory(prefix="verbatim-bench-") as folder, on_core(LOAD_CORE), ProviderProcess() as provider:
        yield Stage(Path(folder), provider=provider)
