"""What every ring needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import override_settings
from hypothesis import settings

from access.profiles import forget
from tests.provider import ProviderProcess
from tests.template import Template, of_this_run, on_sqlite

settings.register_profile("verbatim", deadline=None)  # no test is red because the machine is busy
settings.load_profile("verbatim")

HERE = Path(__file__).parent
SLOWEST = {room: place for place, room in enumerate(("torture", "browser", "bench", "system"))}
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences"}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark the rings: the database's by what a test uses, so that it can be run on another one; the browser's by its
    folder. What starts processes comes first: where tests run side by side, many quick files fill the gaps at the end.
    """
    for item in items:
        if item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")
        if "browser" in item.path.relative_to(HERE).parts:
            item.add_marker("browser")
    yield
    items.sort(key=lambda item: SLOWEST.get(item.path.relative_to(HERE).parts[0], len(SLOWEST)))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file: a database in memory has no WAL, and threads with their own connections fail on its locks."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def nothing_dear() -> Iterator[None]:
    """What costs a site little costs its tests much: each sign-in hashes a password, and each test client has
    middleware of its own, which would look at every static file."""
    hashers = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    with override_settings(PASSWORD_HASHERS=hashers, SERVESTATIC_USE_FINDERS=False, SERVESTATIC_USE_STATIC_ROOT=False):
        yield


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """A table is read for a second from memory, and what an earlier test has put into it is not there any more."""
    forget()


@pytest.fixture
def user(db: None) -> User:
    """Somebody."""
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def other_user(db: None) -> User:
    """Somebody else."""
    return get_user_model().objects.create_user("bob")


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
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The database with which sites of real processes begin."""
    return on_sqlite(of_this_run(tmp_path_factory.getbasetemp()) / "sqlite")


@pytest.fixture
async def async_db(transactional_db: None) -> AsyncIterator[None]:
    """A database for a test with a loop. The thread in which its queries run keeps no connection: a later test may
    cut off every connection there is."""
    yield
    await sync_to_async(connections.close_all)()
