"""A PostgreSQL server of this test run's own: `python -m pytest -p tests.postgres`.

Started when the plugin is loaded, because the settings are read right after; stopped with the run. The workers of a run
on several cores share it, each with a database of its own. Nothing tidies up in it: statistics of tables that happen to
be empty then are what plans for a hundred thousand rows, in the transaction of a test, would be made by.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack

from tests import environment  # noqa: F401 -- it forgets any DATABASE_URL: first that, then ours
from tests.postgres_server import PostgresProcess

if "PYTEST_XDIST_WORKER" not in os.environ:
    running = ExitStack()
    atexit.register(running.close)  # also after a run that does not even begin
    os.environ["POSTGRES_OF_THIS_RUN"] = running.enter_context(PostgresProcess(tidy=False)).uri()
os.environ["DATABASE_URL"] = os.environ["POSTGRES_OF_THIS_RUN"]


def pytest_report_header() -> str:
    return f"database: PostgreSQL at {os.environ['DATABASE_URL']}"
