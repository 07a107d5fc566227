"""Viewers who are cut off and go on, natively and as one that can only append; and what they must end with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from streaming.frames import Delta, Event, ServerFrame
from tests.client import Client, Socket, caught_up
from tests.fold import Folded

Runs = list[tuple[str, str]]


class Viewer:
    """Someone with a position in a conversation. `appended` is what a client has that can only append text, and
    `withdrawn` whether some of that was taken back, because its turn was begun again."""

    def __init__(self, conversation: str, seen: Folded | None = None) -> None:
        self.conversation = conversation
        self.folded = seen if seen is not None else Folded()
        self.appended = stored_text(self.folded) + self.folded.draft
        self.withdrawn = False
        self._opened = AsyncExitStack()
        self._socket: Socket | None = None

    async def go_on(self, client: Client) -> Viewer:
        """Come back where the connection broke off, and hear what was there meanwhile."""
        await self._opened.aclose()
        self._socket = await self._opened.enter_async_context(client.socket(self.conversation, folded=self.folded))
        return self

    async def cut(self, *, goodbye: bool = True) -> None:
        """Lose the connection; without a goodbye, as when a machine is switched off."""
        if self._socket is not None and not goodbye:
            self._socket.connection.transport.abort()
        self._socket = None
        await self._opened.aclose()

    async def send(self, text: str, **frame: Any) -> None:
        """Order a turn."""
        assert self._socket is not None
        await self._socket.send(text, **frame)

    async def until(self, done: Callable[[Folded], bool]) -> Viewer:
        """Read until caught up and as wanted."""
        async with asyncio.timeout(30):
            while not (self.folded.caught_up and done(self.folded)):
                await self.hear()
        return self

    async def hear(self) -> ServerFrame:
        """Read one frame. Raises `TimeoutError`: there are heartbeats, if nothing else."""
        assert self._socket is not None
        had = self.folded.length
        async with asyncio.timeout(30):
            frame = await self._socket.next()
        match frame:
            case Delta(channel="text", text=text):
                self.appended += text
            case Event(kind="assistant_message", data=message):
                self.appended += remainder(message, had)
            case Event(kind="turn_restarted"):
                self.withdrawn |= had > 0
        return frame


def stored_text(folded: Folded) -> str:
    """The text of all messages of the model."""
    events = folded.events.values()
    return "".join(event["data"]["text"] for event in events if event["kind"] == "assistant_message")


def remainder(message: dict[str, Any], offset: int) -> str:
    """The text that a viewer lacks who has `offset` code points of this message, by its `runs`."""
    return "".join(text for channel, text in clipped(runs_of(message), start=offset) if channel == "text")


def runs_of(message: dict[str, Any]) -> Runs:
    """The draft that became this message."""
    at = {"text": 0, "reasoning": 0}
    runs: Runs = []
    for channel, length in message["runs"]:
        runs.append((channel, message[channel][at[channel] : at[channel] + length]))
        at[channel] += length
    return runs


def clipped(runs: Runs, *, start: int = 0, end: int | None = None) -> Runs:
    """The code points of a draft from `start` to `end`."""
    kept: Runs = []
    for channel, text in runs:
        piece = text[max(start, 0) : None if end is None else max(end, 0)]
        if piece:
            kept.append((channel, piece))
        start, end = start - len(text), None if end is None else end - len(text)
    return kept


async def fresh_read(client: Client, conversation: str) -> Folded:
    """What one sees who comes now; the log by REST says the same."""
    async with client.socket(conversation) as socket:
        await socket.until(caught_up)
    told = [{name: event[name] for name in ("kind", "turn", "data")} for event in await client.events(conversation)]
    assert list(socket.folded.events.values()) == told
    return socket.folded


def assert_lawful(viewer: Viewer, fresh: Folded) -> None:
    """The law of the log: old state + frames = a fresh read. And what was appended is what is stored, unless
    something was withdrawn, which an appending client cannot follow."""
    seen = viewer.folded
    assert (seen.log, seen.runs, seen.cursor) == (fresh.log, fresh.runs, fresh.cursor)
    assert viewer.withdrawn or seen.resets or viewer.appended == stored_text(fresh) + fresh.draft
