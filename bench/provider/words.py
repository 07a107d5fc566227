"""Numbered words at an even pace, written by timer callbacks: the load of a benchmark, so little work per token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from bench.provider.wire import ChunkWriter, framed


class WordStream:
    """Writes `w0001 w0002 …` to a transport; awaits nothing in between. A late word does not delay the next."""

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        chunks: ChunkWriter,
        count: int,
        rate: float,
        start: int = 1,
        stamped: bool = False,
        written: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._write = transport.write
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._interval = 1 / rate
        self._next = start
        self._end = start + count
        self._stamped = stamped
        self._chunk = chunks.delta_json
        self._written = written
        self._at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Until the last word is written, or the connection is gone."""
        self._tick()
        try:
            await self._done
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _tick(self) -> None:
        if self._done.done():
            return
        if self._next >= self._end or self._transport.is_closing():
            self._done.set_result(None)
            return
        stamp = b"@%d" % (time.time_ns() // 1000) if self._stamped else b""
        self._write(framed(self._chunk(b'{"content":"w%04d%b "}' % (self._next, stamp))))
        self._written()
        self._next += 1
        self._at += self._interval
        self._timer = self._loop.call_at(self._at, self._tick)
