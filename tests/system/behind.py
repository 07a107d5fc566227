"""How far viewers are behind: the provider's words carry the time at which they were said."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from statistics import quantiles

from streaming.frames import Delta
from tests.client import Socket
from tests.system.cluster import LONG

BEHIND = 0.300 if LONG else 1.000
"""How far a viewer on another process may be behind at the 99th percentile, in seconds. The promise is the former; in a
run of all tests the machine is busy with more than this, and the latter still tells a ring from the query every 3 s."""
STAMP = re.compile(r"@(\d{16}) ")


async def listen(socket: Socket, *, until: Callable[[Socket], bool], since: float = 0.0) -> list[float]:
    """Read until it is as wanted; how far behind each word came that was said after `since`."""
    behind: list[float] = []
    while not until(socket):
        frame = await socket.next()
        now = time.time()
        if isinstance(frame, Delta):
            stamps = (int(stamp) / 1e6 for stamp in STAMP.findall(frame.text))
            behind += [now - stamp for stamp in stamps if stamp >= since]
    return behind


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(values, n=100, method="inclusive")[98]
