"""How busy this machine is with something else: for how long those who take part in a run had to wait for it, as Linux
counts it. Elsewhere nobody is known to have waited."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


class Machine:
    """Asked again and again."""

    def __init__(self) -> None:
        self._waited: dict[Path, int] = {}

    def waited(self, pids: Iterable[int]) -> float:
        """For how many seconds since the last time that thread was ready and not running which was so for longest, of
        all threads of these processes."""
        now = {thread: waited for pid in pids for thread, waited in _threads(pid)}
        longest = max((waited - self._waited.get(thread, waited) for thread, waited in now.items()), default=0)
        self._waited = now
        return longest / 1e9


def _threads(pid: int) -> Iterable[tuple[Path, int]]:
    with suppress(OSError):  # it is gone, or this is no Linux
        for thread in (PROC / str(pid) / "task").iterdir():
            yield thread, int((thread / "schedstat").read_text().split()[1])
