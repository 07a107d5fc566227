"""Those who look at a conversation or a turn, are cut off, and come back where they were, at any process; every frame
that they get is recorded."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.torture.cluster import Member
from tests.torture.records import Connected, Disconnected, Frame, Received, Transport
from tests.torture.world import World, lines_of

OPENING = 6.0
RETRY = (0.05, 0.6)
"""How long a viewer waits before it comes back, in seconds."""
GONE = (OSError, TimeoutError, EOFError, aiohttp.ClientError, ConnectionClosed, InvalidHandshake)
"""How connections fail."""


class Cut(Exception):
    """The viewer was cut off on purpose."""


class Viewer(ABC):
    """Comes back until it has left. `away` seconds pass before it does so after a cut."""

    transport: ClassVar[Transport]

    def __init__(self, world: World, name: str, *, conversation: str, turn: str | None = None) -> None:
        self.world = world
        self.name = name
        self.conversation = conversation
        self.turn = turn
        self.cursor = ""
        self.member: Member | None = None
        self.ended: set[str] = set()
        """The turns whose end it has seen."""
        self.seq = 0
        self._reading: asyncio.Task[None] | None = None
        self._leaving = False
        self._away = 0.0
        self._connected = False

    async def run(self) -> None:
        """Look until there is no more to see, or until it leaves."""
        while not self._leaving:
            self.member = await self.world.somebody(but=self.member)
            self._reading = asyncio.create_task(self._look(self.member))
            await asyncio.wait({self._reading})
            if self._reading.exception() is not None:
                self._reading.result()
            away, self._away = self._away, 0.0
            if not self._leaving:
                await asyncio.sleep(away or self.world.chance.uniform(*RETRY))

    def cut(self, *, away: float) -> None:
        """Lose the connection, and come back after so many seconds."""
        self._away = away
        if self._reading is not None:
            self._reading.cancel()

    def leave(self) -> None:
        """Go for good."""
        self._leaving = True
        if self._reading is not None:
            self._reading.cancel()

    @property
    def is_here(self) -> bool:
        """Whether it is connected."""
        return self._connected

    @property
    def has_left(self) -> bool:
        """Whether it does not come back."""
        return self._leaving

    async def _look(self, member: Member) -> None:
        """One connection, however it ends."""
        how: Disconnected | None = None
        try:
            how = await self._connection(member)
        except asyncio.CancelledError:
            how = Disconnected(viewer=self.name, how="left" if self._leaving else "cut")
        except GONE as error:
            how = Disconnected(viewer=self.name, how="lost", reason=type(error).__name__)
        if self._connected:
            self._connected = False
            self.world.note(how)

    @abstractmethod
    async def _connection(self, member: Member) -> Disconnected:
        """Connect where the cursor is, and take frames until the server ends it."""

    def _let_in(self, member: Member, *, process: str) -> None:
        self._connected = True
        self.world.note(
            Connected(
                viewer=self.name,
                transport=self.transport,
                conversation=self.conversation,
                process=process,
                turn=self.turn,
                cursor=self.cursor,
            )
        )

    def _take(self, frame: Frame, *, id: str | None = None) -> None:
        self.world.note(Received(viewer=self.name, frame=frame, id=id))


class NativeViewer(Viewer):
    """Understands the native frames. `state` is what it was shown beside the log."""

    def __init__(self, world: World, name: str, *, conversation: str, turn: str | None = None) -> None:
        super().__init__(world, name, conversation=conversation, turn=turn)
        self.state: dict[str, Any] = {}

    def _take(self, frame: Frame, *, id: str | None = None) -> None:
        super()._take(frame, id=id)
        if frame["type"] in ("event", "delta", "reset", "caught_up", "heartbeat"):
            self.cursor = frame["cursor"]
            self.seq = int(self.cursor.split(".")[0])
        if frame["type"] == "state":
            self.state[frame["key"]] = frame["value"]
        if frame["type"] != "event":
            return
        if frame["kind"] == "user_message" and frame["data"].get("request_id"):
            self.world.seen[frame["data"]["request_id"]] = frame["turn"]
        if frame["kind"] == "turn_ended":
            self.ended.add(frame["turn"])


class SocketViewer(NativeViewer):
    """On a WebSocket, where it can order as well."""

    transport: ClassVar[Transport] = "websocket"

    def __init__(self, world: World, name: str, *, conversation: str) -> None:
        super().__init__(world, name, conversation=conversation)
        self.process: str | None = None
        """Where it is connected."""
        self._socket: ClientConnection | None = None
        self._answers: dict[str, asyncio.Future[Frame]] = {}

    async def order(self, frame: Frame, *, patience: float) -> Frame:
        """Send it; the answer, or nothing if the connection was lost or silent."""
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[frame["request_id"]] = answer
        try:
            async with asyncio.timeout(patience):
                if self._socket is not None:
                    await self._socket.send(json.dumps(frame))
                    return await answer
        except GONE:
            pass
        finally:
            self._answers.pop(frame["request_id"], None)
        return {}

    async def _connection(self, member: Member) -> Disconnected:
        process = member.life
        address = f"{member.url.replace('http', 'ws', 1)}/ws/conversations/{self.conversation}/?after={self.cursor}"
        socket = await connect(
            address,
            additional_headers=self.world.headers,
            max_size=None,
            compression=None,
            proxy=None,
            open_timeout=OPENING,
            ping_interval=None,
            close_timeout=0.5,
        )
        try:
            self._let_in(member, process=process)
            self._socket, self.process = socket, process
            return await self._read(socket)
        finally:
            self._socket = self.process = None
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_result({})
            socket.transport.abort()

    async def _read(self, socket: ClientConnection) -> Disconnected:
        try:
            while True:
                async with asyncio.timeout(self.world.patience):
                    frame = json.loads(await socket.recv())
                self._take(frame)
                answer = self._answers.get(frame.get("request_id") or "")
                if answer is not None and frame["type"] in ("accepted", "error") and not answer.done():
                    answer.set_result(frame)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return Disconnected(viewer=self.name, how="closed", code=closed.rcvd.code)


@dataclass(frozen=True)
class Message:
    """A server-sent event, or a comment."""

    event: str
    data: str
    id: str | None = None


async def messages(lines: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    """What comes as server-sent events."""
    event, data, position = "", "", None
    async for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "" if line != b"\n":
                yield Message("comment", "")
            case "":
                yield Message(event or "message", data, position)
                event, data, position = "", "", None
            case "event":
                event = value
            case "data":
                data = value
            case "id":
                position = value


class StreamViewer(NativeViewer):
    """Server-sent events of a conversation, or of one turn up to its end."""

    transport: ClassVar[Transport] = "sse"

    async def _connection(self, member: Member) -> Disconnected:
        process = member.life
        what = f"turns/{self.turn}" if self.turn else f"conversations/{self.conversation}"
        headers = self.world.headers | ({"Last-Event-ID": self.cursor} if self.cursor else {})
        async with asyncio.timeout(OPENING):
            response = await self.world.http.get(f"{member.url}/api/v1/{what}/stream/", headers=headers)
        try:
            if response.status == 204:
                self._leaving = True  # it has everything
                return Disconnected(viewer=self.name, how="closed")
            response.raise_for_status()
            self._let_in(member, process=process)
            async for message in messages(lines_of(response, world=self.world)):
                self._take({"type": "comment"} if message.event == "comment" else json.loads(message.data))
                if self.turn in self.ended:
                    self._leaving = True
        finally:
            response.close()
        return Disconnected(viewer=self.name, how="closed")
