"""The version before this one: the code as it was before the newest migration, from the history of the checkout."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.provider import ROOT

MIGRATIONS = ("history/migrations/0*.py", "access/migrations/0*.py")


def previous_version() -> str | None:
    """The commit before the one that added the newest migration; None in a checkout that does not know it."""
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", *MIGRATIONS)
    before = added and git("rev-parse", "--verify", "--quiet", f"{added}^")
    return before or None


def unpack(commit: str, folder: Path) -> None:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def git(*command: str) -> str:
    """What git says; nothing if there is none, or no history."""
    try:
        done = subprocess.run(["git", *command], cwd=ROOT, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
