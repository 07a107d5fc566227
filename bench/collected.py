"""The product with the garbage collector watched and set otherwise, as applications to be served. Each pause of the
collector that uses a millisecond of CPU or more is a line on stderr."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from config.asgi import application as usual
from streaming.asgi import Application, Receive, Send

PATIENCE = (10_000, 20, 100)
"""New objects until the youngest are looked at, and how often until older ones are; Python's own is 700, 10, 10."""


def once_warm(change: Callable[[], object]) -> Application:
    """The product, with a change made when its first request has been answered: by then all is imported."""
    changes = [change]

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await usual(scope, receive, send)
        if scope["type"] == "http" and changes:
            changes.pop()()
            gc.callbacks.append(Watch().saw)

    return application


class Watch:
    """Says how long each collection took, in ms of CPU."""

    def __init__(self) -> None:
        self._began = 0.0

    def saw(self, phase: str, info: dict[str, int]) -> None:
        """Called by the collector."""
        if phase == "start":
            self._began = time.thread_time()
        elif (took := (time.thread_time() - self._began) * 1e3) >= 1:
            sys.stderr.write(f"collected {info['generation']} {took:.1f}\n")  # in one piece, beside other threads


def freeze() -> None:
    """Never look again at what is there now."""
    gc.collect()
    gc.freeze()


def freeze_and_wait() -> None:
    """The same, and look at what is new less often."""
    freeze()
    gc.set_threshold(*PATIENCE)


usually = once_warm(lambda: None)
frozen = once_warm(freeze)
patient = once_warm(freeze_and_wait)
without = once_warm(gc.disable)
