"""Clients that ask and then read nothing, over each transport, until they are told to go on; and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.frames import ServerFrame
from tests.client import GOODBYE, Client, Socket, ended
from tests.fold import Folded
from tests.sse import Reader
from tests.system.callers import STREAMING_CHAT

_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)


class Stuck(Protocol):
    """Someone who reads nothing. `cut` tells, in the end, whether the server has let go of it."""

    cut: bool

    async def read_on(self) -> str:
        """Read what is there, go on from there on a new connection if the server has closed this one, and tell the
        text that this has come to; whatever frames there were, they were in order and without a hole."""

    def close(self) -> None:
        """Leave."""


def narrow(url: str) -> socket.socket:
    """A connection whose own end keeps next to nothing of what comes."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect((urlsplit(url).hostname, urlsplit(url).port))
    return line


def widen(line: socket.socket) -> None:
    """From here on it reads as others do."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)


class StuckSocket:
    """On a WebSocket."""

    def __init__(self, client: Client, conversation: str, connection: ClientConnection) -> None:
        self.cut = False
        self._client = client
        self._conversation = conversation
        self._socket = Socket(connection, Folded())

    @classmethod
    async def opened(cls, client: Client, conversation: str) -> StuckSocket:
        """Connect, and read no more than that it is."""
        address = f"{client.url.replace('http', 'ws', 1)}/ws/conversations/{conversation}/"
        connection = await connect(
            address,
            sock=narrow(client.url),
            additional_headers=client.headers,
            max_size=None,
            compression=None,
            ping_interval=None,
            proxy=None,
            close_timeout=GOODBYE,
        )
        connection.transport.pause_reading()
        return cls(client, conversation, connection)

    async def read_on(self) -> str:
        transport = self._socket.connection.transport
        widen(transport.get_extra_info("socket"))
        transport.resume_reading()
        try:
            await self._socket.until(ended(), seconds=120)
        except ConnectionClosed:
            self.cut = True
            async with self._client.socket(self._conversation, folded=self._socket.folded) as again:
                await again.until(ended(), seconds=120)
        return the_answer(self._socket.folded)

    def close(self) -> None:
        self._socket.connection.transport.abort()


class StuckRequest:
    """On a request whose answer is a stream of events."""

    def __init__(self, client: Client, method: str, path: str, body: Any = None, **headers: str) -> None:
        self.cut = False
        self.reader = Reader()
        self._client = client
        self._asks = (method, path, None if body is None else msgspec.json.encode(body))
        self._headers = {**client.headers, **headers, "Content-Type": "application/json"}
        self._line = self._asked()

    def _asked(self, prepare: Callable[[socket.socket], None] = lambda line: None) -> HTTPConnection:
        where = urlsplit(self._client.url)
        line = HTTPConnection(str(where.hostname), where.port)
        line.sock = narrow(self._client.url)
        prepare(line.sock)
        headers = {**self._headers, "Last-Event-ID": self.reader.position} if self.reader.position else self._headers
        line.request(*self._asks, headers)
        return line

    def is_over(self) -> bool:
        """Whether everything has arrived."""
        raise NotImplementedError

    def text(self) -> str:
        """What it comes to."""
        raise NotImplementedError

    async def read_on(self) -> str:
        widen(self._line.sock)
        await asyncio.to_thread(self._read)
        if not self.is_over():
            self.cut = True
            self.reader.reconnected()
            self._line = self._asked(widen)
            await asyncio.to_thread(self._read)
        return self.text()

    def _read(self) -> None:
        with contextlib.closing(self._line), contextlib.suppress(OSError, HTTPException):
            response = self._line.getresponse()
            while not self.is_over() and (chunk := response.read1(65_536)):
                self.reader.feed(chunk)

    def close(self) -> None:
        self._line.close()


class StuckStream(StuckRequest):
    """On the native stream of a conversation."""

    def __init__(self, client: Client, conversation: str) -> None:
        super().__init__(client, "GET", f"/api/v1/conversations/{conversation}/stream/")

    def is_over(self) -> bool:
        last = self.reader.messages[-1:]
        return bool(last) and last[0].event == "event" and last[0].json["kind"] == "turn_ended"

    def text(self) -> str:
        return the_answer(Folded().fold(_decoder.decode(message.data) for message in self.reader.messages))


class StuckCaller(StuckRequest):
    """On `streaming_chat`; with the key of a turn that runs, it joins."""

    def __init__(self, client: Client, conversation: str, *, key: str) -> None:
        body = {"query": "Go on.", "conversation_id": conversation}
        super().__init__(client, "POST", STREAMING_CHAT, body, **{"Idempotency-Key": key})

    def is_over(self) -> bool:
        last = self.reader.messages[-1:]
        return bool(last) and last[0].data.startswith('{"event":"end"')

    def text(self) -> str:
        frames = [message.json for message in self.reader.messages]
        shown = "".join(frame["data"]["token"] for frame in frames if frame["event"] == "token")
        (whole,) = [frame["data"]["token"] for frame in frames if frame["event"] == "turn_complete"]
        assert shown == whole
        return shown


def the_answer(folded: Folded) -> str:
    """The text of the one answer that there is."""
    (text,) = [event["data"]["text"] for event in folded.events.values() if event["kind"] == "assistant_message"]
    return str(text)
