"""How a process ends, one path for every server: wrap the handlers the server has installed, drain, then call them."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

from history.conf import chat_settings
from streaming.chores import have_done

if TYPE_CHECKING:
    from streaming.engine import Engine

logger = logging.getLogger(__name__)

Handler = signal.Handlers | int | None

LINGER = 5.0
"""Seconds that a server has for requests that are still there when all is stored and everybody has been sent away.
uvicorn would wait for one that hangs for ever; after a second signal it does not."""


def end_with_signals(engine: Engine) -> None:
    """SIGTERM drains; SIGINT stores what is there and exits; a second signal goes straight to the server's handler.

    Off the main thread nothing can be hooked: then the bound on what `kill -9` loses holds. What the process was told
    to ignore (a shell does so with Ctrl-C for what it runs in the background) stays ignored.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) != signal.SIG_IGN:
                _wrap(number, engine)


def _wrap(number: signal.Signals, engine: Engine) -> None:
    server = signal.getsignal(number)
    ending: list[asyncio.Task[None]] = []

    def end(signum: int, frame: FrameType | None) -> None:
        if engine.draining:
            _pass_on(server, signum, frame)
            return
        engine.tasks.is_ending = True
        engine.loop.call_soon_threadsafe(begin, signum)

    def begin(signum: int) -> None:
        ending.append(have_done(drain(signum), loop=engine.loop, name="drain"))

    async def drain(signum: int) -> None:
        patience = chat_settings().drain if signum == signal.SIGTERM else 0.0
        logger.info("%s: ending, with %d turns in progress", signal.Signals(signum).name, len(engine.tasks.ids()))
        try:
            await engine.drain(patience=patience)
        finally:
            _pass_on(server, signum, None)
            engine.loop.call_later(LINGER, _pass_on, server, signal.SIGINT, None)

    signal.signal(number, end)


def _pass_on(server: object, signum: int, frame: FrameType | None) -> None:
    """What the server would have done."""
    if callable(server):
        server(signum, frame)
    elif server == signal.SIG_DFL:
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signal.Signals(signum))
