"""The logs of model calls as files, in folders that only the client knows: one folder per usage id."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verbatim_client.frames import Event

logger = logging.getLogger(__name__)
Folders = Mapping[str, str | os.PathLike[str]]
"""Where the logs of which usage id are written."""
KIND = "completion_log"
LONGEST = 255
"""Bytes of a file's name."""


class CompletionLogs:
    """Writes each log once. `folders` is looked up when a log comes, so it may change meanwhile. `with_content`: the
    server is asked for what the model was sent and answered, too."""

    def __init__(self, folders: Folders, *, with_content: bool) -> None:
        self._folders = folders
        self.with_content = with_content

    def take(self, event: Event) -> None:
        """Write it down, if it is a log. What cannot be written hurts nobody else."""
        if event.kind != KIND:
            return
        usage_id, name = str(event.data.get("usage_id")), str(event.data.get("filename"))
        folder = self._folders.get(usage_id)
        if folder is None:
            logger.warning("a completion log was dropped: nobody said a folder for usage id %r", usage_id)
        elif not is_plain(name):
            logger.warning("a completion log was dropped: %r is no name for a file", name)
        else:
            try:
                write(Path(folder), name, log={"turn": event.turn, "at": event.at, **event.data})
            except OSError:
                logger.exception("a completion log could not be written to %s", folder)


def is_plain(name: str) -> bool:
    """Whether this names a file in whatever folder, and nothing above, below or beside it."""
    plain = Path(name).name == name and "\\" not in name and name.isprintable() and not name.startswith(".")
    return plain and name.endswith(".json") and len(name.encode()) <= LONGEST


def write(folder: Path, name: str, *, log: Mapping[str, Any]) -> None:
    """A file that is there whole or not at all, in UTF-8; half a surrogate pair stays JSON's escape. One that is there
    is left alone: when a conversation is replayed, the server may have purged what it had. Raises `OSError`."""
    target = folder / name
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(log, ensure_ascii=False, indent=2)
    part, path = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        with open(part, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
        os.replace(path, target)
    except BaseException:
        os.unlink(path)
        raise
