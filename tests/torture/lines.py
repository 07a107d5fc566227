"""Lines between the parts of a cluster: TCP that can be cut, fall silent or be refused, as between machines."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self

CHUNK = 65_536


class Line:
    """Carries connections to a port of this machine. `port` is where it begins."""

    def __init__(self, to: int = 0) -> None:
        self.to = to
        self.port = 0
        self._server: asyncio.Server | None = None
        self._sound = asyncio.Event()
        self._sound.set()
        self._refuses = False
        self._carried: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self) -> Self:
        """Listening when this returns."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Nothing is carried any more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._carried, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; new ones may be made at once."""
        for task, client in self._carried.items():
            client.transport.abort()
            task.cancel()

    def fall_silent(self) -> None:
        """Nothing arrives at either end, and nobody is told: what is sent waits here until `heal`."""
        self._sound.clear()

    def refuse(self) -> None:
        """Reset every connection, and every new one, until `heal`."""
        self._refuses = True
        self.cut()

    def heal(self) -> None:
        """As if nothing had been."""
        self._refuses = False
        self._sound.set()

    async def _carry(self, asks: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until one of its ends closes it."""
        if self._refuses:
            client.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._carried[task] = client
        try:
            await self._sound.wait()
            with suppress(OSError):
                await self._join(asks, client)
        except asyncio.CancelledError:
            pass  # it was cut
        finally:
            client.close()
            del self._carried[task]

    async def _join(self, asks: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self.to)
        pumps = [asyncio.create_task(self._pump(asks, server)), asyncio.create_task(self._pump(answers, client))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            server.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._sound.wait()
                sink.write(data)
                await sink.drain()
