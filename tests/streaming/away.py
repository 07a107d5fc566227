"""A database that is away, for a while and for some threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.db import connection

from streaming.database import READERS, in_thread


@asynccontextmanager
async def failing(
    failures: list[Exception], *, among: Callable[..., Any] = in_thread, threads: int = READERS
) -> AsyncIterator[list[Exception]]:
    """So many statements of the threads that read, or of other ones, fail. What is left of them."""
    everybody = threading.Barrier(threads)

    def fail(execute: Callable[..., Any], *statement: Any) -> Any:
        if failures:
            raise failures.pop()
        return execute(*statement)

    def change(how: str) -> None:
        everybody.wait(20)  # each thread changes its own
        getattr(connection.execute_wrappers, how)(fail)

    await asyncio.gather(*[among(change, "append") for _ in range(threads)])
    try:
        yield failures
    finally:
        failures.clear()
        await asyncio.gather(*[among(change, "remove") for _ in range(threads)])
