"""The Python client in a conversation: it goes on at whatever process is there, is cut off with the other viewers, and
in the end tells what it has."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from tests.torture.cluster import CHAT
from tests.torture.records import ClientLog
from tests.torture.world import World
from verbatim_client import AsyncRemoteConversation, Delta, Event, Frame, Log, Piece, VerbatimError, Withdrawn
from verbatim_client.log import DRAFT_ENDING
from verbatim_client.stats import Stats
from verbatim_client.telling import Telling

RETRY = 0.2
SILENCE: float = 2 * CHAT["HEARTBEAT"]


class Front:
    """One address for all processes: each connection is carried to one of those that are there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection."""
        for line in self._lines:
            line.transport.abort()

    async def carry(self, asks: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until one of its sides ends it."""
        self._lines.add(client)
        try:
            member = await self._world.somebody()
            answers, server = await asyncio.open_connection("127.0.0.1", int(member.url.rpartition(":")[2]))
            try:
                pumps = {asyncio.create_task(_pump(asks, server)), asyncio.create_task(_pump(answers, client))}
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
            finally:
                server.close()
        except OSError:
            pass  # nobody is there: the client will come back
        finally:
            self._lines.discard(client)
            client.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()


@asynccontextmanager
async def fronted(front: Front) -> AsyncIterator[str]:
    """The front's address while it is there."""
    async with await asyncio.start_server(front.carry, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        front.cut()


class PythonClient:
    """`told` is what somebody would have read who can only append, by turn; what was withdrawn is taken back."""

    def __init__(self, world: World, name: str, *, conversation: str) -> None:
        self.world = world
        self.name = name
        self.conversation = conversation
        self.ended: set[str] = set()
        """The turns whose end it has seen."""
        self._front = Front(world)
        self._attached: AsyncRemoteConversation | None = None
        self._telling = Telling()
        self._told: dict[str, list[str]] = {}
        self._stored: dict[str, int] = {}
        self._turn = ""

    async def run(self) -> None:
        """Look until it is cancelled. Its first connection may fail as any program's."""
        async with fronted(self._front) as address:
            while self._attached is None:
                entered = AsyncRemoteConversation(
                    address,
                    key=self.world.cluster.key,
                    conversation=self.conversation,
                    patience=math.inf,
                    silence=SILENCE,
                )
                with suppress(VerbatimError):
                    await self._look(entered)
                await asyncio.sleep(RETRY)

    def cut(self) -> None:
        """Lose the connection."""
        self._front.cut()

    def tell(self, *, left: bool) -> None:
        """Write down what it has."""
        log = self._attached.log if self._attached is not None else Log()
        record = ClientLog(
            viewer=self.name,
            conversation=self.conversation,
            events=[{"kind": event.kind, "turn": event.turn, "data": event.data} for event in log.events],
            draft=list(log.draft.pieces) if log.draft is not None else [],
            told={turn: "".join(self._told[turn]) for turn in self.ended if turn in self._told},
            left=left,
            stats=asdict(self._attached.stats if self._attached is not None else Stats()),
            state=self.state,
        )
        self.world.note(record)

    @property
    def seq(self) -> int:
        """How many events it has."""
        return len(self._attached.log.events) if self._attached is not None else 0

    @property
    def state(self) -> dict[str, Any]:
        """What it was shown beside the log."""
        return dict(self._attached.state) if self._attached is not None else {}

    async def _look(self, entered: AsyncRemoteConversation) -> None:
        async with entered as conversation:
            self._attached = conversation
            async for frame in conversation.frames(after=0):
                self._hear(frame)

    def _hear(self, frame: Frame) -> None:
        if isinstance(frame, Delta | Event):
            self._turn = frame.turn or self._turn
        told = self._told.setdefault(self._turn, [])
        for news in self._telling.take(frame):
            match news:
                case Piece(channel="text", text=text):
                    told.append(text)
                case Withdrawn():
                    del told[self._stored.get(self._turn, 0) :]
                case Event(kind=kind) if kind in DRAFT_ENDING:
                    self._stored[self._turn] = len(told)
        if isinstance(frame, Event) and frame.kind == "turn_ended" and frame.turn:
            self.ended.add(frame.turn)
