"""The threads in which asynchronous code uses the database; those of the writer and the keeper are elsewhere.

Orders have threads of their own: one that waits for a lock must not keep anyone from reading. So have turns: they wait
for nobody who comes to read, however many do so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection

from history.connections import AWAY

P = ParamSpec("P")
T = TypeVar("T")

READERS, ORDERERS, TURNS = 2, 2, 2
"""Threads that read, that take orders, and that read for turns; who comes meanwhile waits for one."""
PATIENCE, PAUSE = 60.0, 0.5
"""How long a database that is away is waited for, and how often it is asked, in seconds."""

_readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="verbatim-reader")
_orderers = ThreadPoolExecutor(max_workers=ORDERERS, thread_name_prefix="verbatim-orderer")
for_turns = ThreadPoolExecutor(max_workers=TURNS, thread_name_prefix="verbatim-turns")


async def in_thread(read: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a synchronous function that reads the database; its connection goes back to the pool afterwards."""
    return await _in(_readers, partial(read, *args, **kwargs))


async def patiently(
    read: Callable[[], T], *, patience: float | None = None, threads: ThreadPoolExecutor = _readers
) -> T:
    """Read, in one of these threads, from a database that may be away for a while; past `patience` seconds, or
    `PATIENCE`, raise what it says."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (PATIENCE if patience is None else patience)
    while True:
        try:
            return await _in(threads, read)
        except AWAY:
            if loop.time() > until:
                raise
            await asyncio.sleep(PAUSE)


async def in_order_thread(order: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for one that writes, and may have to wait for a lock."""
    return await _in(_orderers, partial(order, *args, **kwargs))


async def _in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """What is logged in the thread tells whose request it was."""
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, _call, call)


def _call(call: Callable[[], T]) -> T:
    if connection.vendor == "sqlite":  # a file: nobody waits for it, and to open it anew costs more than most queries
        return call()
    close_old_connections()
    try:
        return call()
    finally:
        close_old_connections()
