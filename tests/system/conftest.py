"""The whole system: server processes, a provider, a database in a file; nothing in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.client import Client
from tests.provider import ProviderProcess
from tests.server import KINDS, Kind, ServerProcess, Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever is in this folder is of the system ring."""
    for item in items:
        if "tests/system/" in item.path.as_posix():
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def provider_process() -> Iterator[ProviderProcess]:
    """One provider for all tests."""
    with ProviderProcess() as process:
        yield process


@pytest.fixture
def provider(provider_process: ProviderProcess) -> ProviderProcess:
    """The provider, fresh."""
    provider_process.reset()
    return provider_process


@pytest.fixture(scope="session")
def site(provider_process: ProviderProcess, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One site for all tests; each has a user of its own."""
    return Site(tmp_path_factory.mktemp("site"), provider_url=provider_process.base_url)


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
