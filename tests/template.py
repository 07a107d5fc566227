"""The databases with which sites begin: migrated, with users and their keys. They are made once per run, by whichever
worker is the first to need one; each site has a copy."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.nursery.forked import Forked, managed
from tests.postgres_server import PostgresProcess
from tests.server import Site

USERS = ("ada", *(f"user-{number}" for number in range(200)))
"""Ada is the one user where a database is a test's own; the others are for tests that share one."""
DATABASE = "template"
"""Its name on PostgreSQL."""
FILL = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
for user in {!r}: call_command("create_api_key", user, "--create-user")
"""


class Template(NamedTuple):
    """`data` is a file on SQLite; on PostgreSQL the folder of a server that has ended. `keys` are those of `USERS`."""

    data: Path
    keys: list[str]

    @property
    def key(self) -> str:
        """Ada's."""
        return self.keys[0]


def on_sqlite(folder: Path) -> Template:
    """The one in this folder, made if there is none."""
    file = folder / "template.sqlite3"
    with only_one(folder) as keys:
        if not keys.exists():
            keys.write_text(json.dumps(filled(f"sqlite:///{file}")))
    return Template(file, json.loads(keys.read_text()))


def on_postgres(folder: Path) -> Template:
    """The same."""
    data = folder / "data"
    with only_one(folder) as keys:
        if not keys.exists():
            with PostgresProcess() as postgres:
                made = filled(postgres.create(DATABASE))
                postgres.stop()
                subprocess.run(["cp", "-a", postgres.data, data], check=True)
            keys.write_text(json.dumps(made))
    return Template(data, json.loads(keys.read_text()))


def site_on(template: Template, file: Path, *, provider_url: str, env: Mapping[str, str] | None = None) -> Site:
    """A site with a copy of that SQLite database in this file."""
    return site_at(f"sqlite:///{shutil.copy(template.data, file)}", provider_url=provider_url, env=env)


def site_at(address: str, *, provider_url: str, env: Mapping[str, str] | None = None) -> Site:
    """A site whose database, a copy, is there."""
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", **(env or {})}
    return Site(
        Path(),
        provider_url=provider_url,
        database_url=address,
        env=env,
        migrated=True,
        starting=Forked,
        managing=managed,
    )


def of_this_run(base: Path) -> Path:
    """The folder that all workers of a run share, of the one that this process has for itself."""
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def filled(database_url: str) -> list[str]:
    """Give a new database all tables, the users and their keys, in one process; the keys."""
    return site_at(database_url, provider_url="").manage("shell", "-v", "0", "-c", FILL.format(USERS)).split()


@contextmanager
def only_one(folder: Path) -> Iterator[Path]:
    """Whoever comes meanwhile waits; the file that is there once all is done."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "keys.json"
