"""The Python client in a process of its own, which knows nothing of the server but its address, driven by a test."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.provider import ROOT
from tests.server import ServerProcess

PROGRAM = ROOT / "tests" / "system" / "lone_client.py"
USAGE_IDS = ("agent", "title")


class Lone:
    """One that runs. `told` are its lines so far; its log, with all that libraries say, is in the file `log`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.told: list[dict[str, Any]] = []
        self.log = log
        self._process = process

    async def until(self, kind: str) -> dict[str, Any]:
        """The next line of that kind. Raises `EOFError` with its log if there is none."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append(json.loads(line))
            if self.told[-1]["kind"] == kind:
                return self.told[-1]
        raise EOFError(self.log.read_text(encoding="utf-8"))


@asynccontextmanager
async def lone(
    server: ServerProcess, key: str, folder: Path, *, text: str, content: bool = False
) -> AsyncIterator[Lone]:
    """One that asks this, and writes the logs of each usage id into a folder below `folder`, which is there."""
    folders = {usage_id: str(folder / usage_id) for usage_id in USAGE_IDS}
    asked = {"url": server.url, "key": key, "folders": folders, "text": text, "content": content}
    log = folder / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, PROGRAM, cwd=folder, env={"PYTHONPATH": str(ROOT / "client")},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
        async with asyncio.timeout(60):
            yield Lone(process, log)
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
