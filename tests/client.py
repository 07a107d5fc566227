"""A native client over real HTTP and a real WebSocket, which folds what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import uuid4

import aiohttp
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.frames import Accepted, Error, Pong, ServerFrame
from tests.fold import TELLS, Folded

GOODBYE = 0.5
"""For how many seconds who leaves waits for the server's goodbye, which may stand behind much that nobody reads."""

_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)


class Client:
    """One user of a site, at one of its servers."""

    def __init__(self, url: str, *, key: str) -> None:
        self.url = url
        self.key = key
        self.headers = {"Authorization": f"Bearer {key}"}

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """A REST call's JSON answer. Raises `aiohttp.ClientResponseError` for an error."""
        async with (
            aiohttp.ClientSession(headers=self.headers, raise_for_status=True) as session,
            session.request(method, self.url + path, json=body) as response,
        ):
            return await response.json() if response.status != 204 else None

    async def new_conversation(self) -> str:
        """The id of a new conversation."""
        made = await self.call("POST", "/api/v1/conversations/", {})
        return str(made["id"])

    async def events(self, conversation: str) -> list[dict[str, Any]]:
        """The log by REST, without what it tells of model calls: the fresh read."""
        return [event for event in await self.log(conversation) if event["kind"] not in TELLS]

    async def log(self, conversation: str) -> list[dict[str, Any]]:
        """All of it."""
        events: list[dict[str, Any]] = []
        while True:
            after = events[-1]["seq"] if events else 0
            page = await self.call("GET", f"/api/v1/conversations/{conversation}/events/?after={after}&limit=500")
            events += page["events"]
            if not page["has_more"]:
                return events

    @asynccontextmanager
    async def socket(self, conversation: str, *, folded: Folded | None = None) -> AsyncIterator[Socket]:
        """A socket that goes on where `folded` stands."""
        folded = folded.reconnected() if folded is not None else Folded()
        address = f"{self.url.replace('http', 'ws', 1)}/ws/conversations/{conversation}/?after={folded.cursor}"
        async with connect(
            address,
            additional_headers=self.headers,
            max_size=None,
            compression=None,
            proxy=None,
            close_timeout=GOODBYE,
        ) as connection:
            yield Socket(connection, folded)


class Socket:
    """An open socket. Every frame that arrives goes into `folded`, answers to what was sent into `answers`."""

    def __init__(self, connection: ClientConnection, folded: Folded) -> None:
        self.connection = connection
        self.folded = folded
        self.answers: list[Accepted | Error | Pong] = []

    async def send(self, text: str | None = "hi", **frame: Any) -> str:
        """Order a turn; the request id."""
        frame = {"request_id": uuid4().hex, "text": text, **frame}
        await self.put({"type": "send", **{name: value for name, value in frame.items() if value is not None}})
        return str(frame["request_id"])

    async def stop(self, turn: str) -> None:
        """Stop a turn."""
        await self.put({"type": "stop", "turn": turn})

    async def put(self, frame: Any) -> None:
        """Send anything."""
        await self.connection.send(frame if isinstance(frame, str | bytes) else msgspec.json.encode(frame).decode())

    async def next(self) -> ServerFrame:
        """The next frame, folded in already."""
        frame = _decoder.decode(await self.connection.recv())
        if isinstance(frame, Accepted | Error | Pong):
            self.answers.append(frame)
        else:
            self.folded.add(frame)
        return frame

    async def until(self, done: Callable[[Self], bool], *, seconds: float = 30) -> Self:
        """Read until it is as wanted. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while not done(self):
                await self.next()
        return self

    async def until_closed(self) -> int | None:
        """Read all that still comes; the close code."""
        with suppress(ConnectionClosed):
            await self.until(lambda socket: False)
        return self.connection.close_code

    async def answer(self) -> Accepted | Error | Pong:
        """The answer to what was sent last."""
        had = len(self.answers)
        await self.until(lambda socket: len(socket.answers) > had)
        return self.answers[-1]


def ended(turns: int = 1) -> Callable[[Any], bool]:
    """So many turns are over, for `Socket.until`."""
    return lambda socket: sum(event["kind"] == "turn_ended" for event in socket.folded.events.values()) >= turns


def says(text: str) -> Callable[[Any], bool]:
    """The draft has come to this text, for `Socket.until`."""
    return lambda socket: text in socket.folded.draft


def caught_up(socket: Socket) -> bool:
    """What was there is here, for `Socket.until`."""
    return socket.folded.caught_up
