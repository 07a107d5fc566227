"""The load generator: viewers that do as little as possible but note which words came, and when.

They read bytes, not objects, so that hundreds of them fit on one core beside the provider that feeds the servers. The
provider's words carry the time at which they were written, and that is found in whatever a server makes of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

STAMP = re.compile(rb"@(\d{16}) ")
HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n"
KEY = "dmVyYmF0aW0gdmVyYmF0aQ=="
TEXT, PING, PONG = 1, 9, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How a viewer comes: an HTTP request, a POST if it has a body; on a socket, with what it says first."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    socket: bool = False
    says: str | None = None

    def request(self, host: str) -> bytes:
        """The bytes of the request."""
        lines = [f"{'GET' if self.body is None else 'POST'} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        handshake = HANDSHAKE.format(KEY) if self.socket else ""
        return ("\r\n".join(lines) + "\r\n" + handshake + "\r\n").encode() + (self.body or b"")


class Tally:
    """What all viewers of a run saw while it was measured."""

    def __init__(self) -> None:
        self.on = False
        self.latencies: list[float] = []
        self.frames = 0
        self.bytes = 0

    def add(self, stamps: list[bytes], *, at: float) -> None:
        """One frame with new words came, in seconds since the epoch."""
        self.frames += 1
        self.latencies += [at * 1e3 - int(stamp) / 1e3 for stamp in stamps]


class Viewer(asyncio.Protocol):
    """One connection: its call answered, the first word there, all over. `oldest` and `newest` are the stamps of the
    first and the last word seen, in µs since the epoch."""

    def __init__(self, call: Call, *, host: str, tally: Tally) -> None:
        self._call = call
        self._host = host
        self._tally = tally
        self._rest = b""
        self._headed = False
        self._marked: dict[bytes, asyncio.Future[float]] = {}
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.oldest = self.newest = 0

    def say(self, text: str) -> None:
        """Send a text frame."""
        self._put(TEXT, text.encode())

    def until(self, marker: bytes) -> asyncio.Future[float]:
        """When the next frame came that has these bytes in it: seconds since the epoch."""
        return self._marked.setdefault(marker, asyncio.get_running_loop().create_future())

    def close(self) -> None:
        """Be gone."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._transport.write(self._call.request(self._host))

    def connection_lost(self, error: Exception | None) -> None:
        gone = ConnectionResetError("the server closed the connection")
        for waiting in (self.opened, self.begun):
            _fail(waiting, gone)
        for marked in self._marked.values():
            _fail(marked, gone)
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        at = time.time()
        if self._tally.on:
            self._tally.bytes += len(data)
        self._rest += data
        if not self._headed and not self._head():
            return
        for frame in self._frames() if self._call.socket else self._events():
            self._saw(frame, at=at)

    def _head(self) -> bool:
        """Whether the response's head is here. Raises nothing: who waits for it is told."""
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return False
        self._headed, self._rest = True, rest
        status = int(head.split(b" ", 2)[1])
        if status != (101 if self._call.socket else 200):
            _fail(self.opened, ConnectionRefusedError(f"{self._call.path}: {status} {rest[:500]!r}"))
            return False
        self.opened.set_result(None)
        if self._call.says is not None:
            self.say(self._call.says)
        return True

    def _events(self) -> Iterator[bytes]:
        *events, self._rest = self._rest.split(b"\n\n")
        return iter(events)

    def _frames(self) -> Iterator[bytes]:
        """The WebSocket frames that are complete."""
        data, at = self._rest, 0
        while (start := payload_at(data, at)) and start[1] <= len(data):
            opcode, payload = data[at] & 15, data[start[0] : start[1]]
            at = start[1]
            if opcode == PING:
                self._put(PONG, payload)
            else:
                yield payload
        self._rest = data[at:]

    def _saw(self, frame: bytes, *, at: float) -> None:
        stamps: list[bytes] = STAMP.findall(frame)
        if stamps:
            self.newest = int(stamps[-1])
            if not self.begun.done():
                self.oldest = int(stamps[0])
                self.begun.set_result(None)
            if self._tally.on:
                self._tally.add(stamps, at=at)
        for marker in [marker for marker in self._marked if marker in frame]:
            self._marked.pop(marker).set_result(at)

    def _put(self, opcode: int, payload: bytes) -> None:
        """A frame, masked with zeros, as it is."""
        assert self._transport is not None
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self._transport.write(bytes([0x80 | opcode]) + length + bytes(4) + payload)


def _fail(waiting: asyncio.Future[Any], error: Exception) -> None:
    """Tell whoever waits for it; there need not be anybody."""
    if not waiting.done():
        waiting.set_exception(error)
        waiting.exception()


def payload_at(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the server's frame that begins at `at` starts and ends, as soon as that can be told."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1] & 127, at + 2
    if size < 126:
        return start, start + size
    width = 2 if size == 126 else 8
    if len(data) < start + width:
        return None
    return start + width, start + width + int.from_bytes(data[start : start + width], "big")


async def call(url: str, asked: Call, *, tally: Tally | None = None) -> Viewer:
    """A viewer who has called, and was not answered yet."""
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    _, viewer = await asyncio.get_running_loop().create_connection(
        lambda: Viewer(asked, host=address.netloc, tally=tally or Tally()), address.hostname, address.port
    )
    return viewer


async def view(url: str, asked: Call, *, tally: Tally | None = None) -> Viewer:
    """A viewer whose call was answered. Raises `ConnectionError` if it was refused."""
    viewer = await call(url, asked, tally=tally)
    await viewer.opened
    return viewer


async def reached(url: str, asked: Call, *, marker: bytes) -> tuple[Viewer, float]:
    """A viewer who was sent a frame with these bytes in it, and when, in seconds since the epoch."""
    viewer = await call(url, asked)
    return viewer, await viewer.until(marker)
