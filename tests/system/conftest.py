"""The whole system: server processes, a provider, a database in a file; nothing in the test's own process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client
from tests.curl import CURL
from tests.nginx import NGINX
from tests.postgres_server import PostgresProcess
from tests.provider import ProviderProcess
from tests.redis import RedisProcess
from tests.server import KINDS, Kind, NewSite, ServerProcess, Site
from tests.system.cluster import DATABASES, FOUR, LONG, Cluster, Database, NewCluster, started
from tests.system.versions import previous_version
from tests.template import DATABASE, Template, of_this_run, on_postgres, site_at, site_on

IN_CI = os.environ.get("CI_BROWSER") == "1"
"""Nothing may be missing there: what is fails the tests that need it. Elsewhere these are left out."""

collect_ignore: list[str] = []
if CURL is None and not IN_CI:
    collect_ignore.append("test_curl.py")
if NGINX is None and not IN_CI:
    collect_ignore += ["test_nginx.py", "test_nginx_silence.py"]
if previous_version() is None and not IN_CI:  # without history, only what `tests/history/test_versions.py` says is held
    collect_ignore.append("test_cluster_versions.py")
if NGINX is None or not LONG:
    collect_ignore.append("test_nginx_for_minutes.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in this folder is of the system ring."""
    for item in items:
        if "tests/system/" in item.path.as_posix():
            item.add_marker(pytest.mark.system)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Have a line printed at the end of the run: what a test counted or measured. It goes with the test's report,
    which comes from whatever process ran it."""
    return lambda line: request.node.user_properties.append(("measured", line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured."""
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if getattr(report, "when", None) == "call":
            for name, line in report.user_properties:
                if name == "measured":
                    terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def site(provider_process: ProviderProcess, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One site for all tests; each has a user of its own."""
    return site_on(template, tmp_path_factory.mktemp("site") / "site.sqlite3", provider_url=provider_process.base_url)


@pytest.fixture
def new_site(provider_process: ProviderProcess, template: Template, tmp_path: Path) -> NewSite:
    """Makes sites for tests that end servers: with a database of their own, no living server cleans up after them."""
    numbers = count()

    def new_site() -> tuple[Site, str]:
        file = tmp_path / f"site-{next(numbers)}.sqlite3"
        return site_on(template, file, provider_url=provider_process.base_url), template.key

    return new_site


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The databases with which a PostgreSQL begins."""
    return on_postgres(of_this_run(tmp_path_factory.getbasetemp()) / "postgres")


@pytest.fixture(scope="session")
def postgres(postgres_template: Template) -> Iterator[PostgresProcess]:
    """A PostgreSQL that no test ends."""
    with PostgresProcess(data=postgres_template.data) as process:
        yield process


@pytest.fixture(scope="session")
def make_postgres_site(
    postgres: PostgresProcess, postgres_template: Template, provider_process: ProviderProcess
) -> NewSite:
    """Makes sites on PostgreSQL, each with a database of its own."""

    def new_site() -> tuple[Site, str]:
        address = postgres.create(f"site_{uuid4().hex}", template=DATABASE)
        return site_at(address, provider_url=provider_process.base_url), postgres_template.key

    return new_site


@pytest.fixture
def new_postgres_site(make_postgres_site: NewSite) -> NewSite:
    """The same on PostgreSQL."""
    return make_postgres_site


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisProcess]:
    """A Redis that no test ends."""
    with RedisProcess() as process:
        yield process


@pytest.fixture(scope="session")
def make_cluster(
    template: Template,
    make_postgres_site: NewSite,
    redis: RedisProcess,
    provider_process: ProviderProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> NewCluster:
    """Makes clusters; any number of them may use one Redis."""

    def make(
        database: Database, *, kinds: Sequence[Kind] = FOUR, chat: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[Cluster]:
        if database == "SQLite":
            file = tmp_path_factory.mktemp("cluster") / "site.sqlite3"
            site, key = site_on(template, file, provider_url=provider_process.base_url), template.key
        else:
            site, key = make_postgres_site()
        site = site.at(site.env["DATABASE_URL"], REDIS_URL=redis.url)
        return started(site, key=key, redis=redis, kinds=kinds, chat=chat)

    return make


@pytest.fixture
def new_cluster(make_cluster: NewCluster) -> NewCluster:
    """For tests that end servers."""
    return make_cluster


@pytest.fixture(scope="session", params=DATABASES)
def cluster(request: pytest.FixtureRequest, make_cluster: NewCluster) -> Iterator[Cluster]:
    """Two daphne and two uvicorn processes that no test ends, on each database."""
    with make_cluster(request.param) as cluster:
        yield cluster


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every test of a server is for both."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="session")
def servers(site: Site) -> Iterator[Callable[[Kind], ServerProcess]]:
    """One of each kind, started when it is first asked for. Tests of the kinds may come in any order."""
    with ExitStack() as running:
        yield cache(lambda kind: running.enter_context(site.start(kind)))


@pytest.fixture
def server(servers: Callable[[Kind], ServerProcess], kind: Kind) -> ServerProcess:
    """A server that no test ends."""
    return servers(kind)


@pytest.fixture(scope="session")
def keys(site: Site, template: Template) -> Iterator[str]:
    """API keys of new users without end: those that are there, then by the score, because each command is a process
    that has to start."""
    more = (site.keys_for(*(f"user-{uuid4().hex[:8]}" for _ in range(20))) for _ in count())
    return chain(template.keys[1:], chain.from_iterable(more))


@pytest.fixture
def key(keys: Iterator[str]) -> str:
    """The API key of a new user."""
    return next(keys)


@pytest.fixture
def client(server: ServerProcess, key: str) -> Client:
    """A new user at the server."""
    return Client(server.url, key=key)
