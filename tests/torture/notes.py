"""What server processes note for the run: one line of JSON each in a file that outlives them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "TORTURE_NOTES"
PULSE = 0.2
"""How often a process notes that it is alive, in seconds."""

Note = dict[str, Any]
_file: int | None = None


def note(what: str, **facts: Any) -> None:
    """Note something; it is there for good when this returns, whatever happens to the process."""
    global _file
    if _file is None:
        _file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_file, json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **facts}).encode() + b"\n")


class Notes:
    """The notes as they come, for whoever reads along."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Note] = []
        self._rest = b""
        path.touch()
        self._file = path.open("rb")

    def fresh(self) -> list[Note]:
        """Those since the last time."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        found = [json.loads(line) for line in lines]
        self.all += found
        return found

    def close(self) -> None:
        """Read no more."""
        self._file.close()
