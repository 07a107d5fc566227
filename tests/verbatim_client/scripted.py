"""A site of one conversation that says what it is told to, and remembers how it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

ID = "5f0c2f0e-7d0f-4a55-9a53-2f5a3c1b8e11"
Says = Callable[["ScriptedSite", ServerConnection], Any]


class ScriptedSite:
    """`asked` has the paths of all requests, `heard` what came on sockets, `keys` with which key each one came.
    The handshakes that `statuses` numbers, from 1, are refused with that status."""

    def __init__(self, says: Says) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.heard: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.statuses: dict[int, int] = {}
        self._says = says

    @property
    def handshakes(self) -> list[str]:
        """The cursors with which sockets were opened."""
        return [path.partition("after=")[2].partition("&")[0] for path in self.asked if path.startswith("/ws/")]

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """REST is answered with the conversation; sockets are opened."""
        self.asked.append(request.path)
        self.keys.add(request.headers.get("Authorization"))
        if not request.path.startswith("/ws/"):
            return connection.respond(200, json.dumps({"id": ID}))
        status = self.statuses.get(len(self.handshakes))
        return connection.respond(status, "") if status is not None else None

    async def hold(self, connection: ServerConnection) -> None:
        """One socket."""
        saying = asyncio.create_task(self._says(self, connection))
        try:
            with suppress(ConnectionClosed):
                async for text in connection:
                    self.heard.append(json.loads(text))
        finally:
            saying.cancel()


@asynccontextmanager
async def scripted(says: Says) -> AsyncIterator[ScriptedSite]:
    """A site that says something to each new connection."""
    site = ScriptedSite(says)
    async with serve(site.hold, "127.0.0.1", 0, process_request=site.answer) as server:
        site.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield site


def saying(*frames: dict[str, Any]) -> Says:
    """Each connection gets all of these that it has not got, by their number, and hears that it has caught up."""

    async def says(site: ScriptedSite, connection: ServerConnection) -> None:
        after = int(site.asked[-1].partition("after=")[2].partition("&")[0].partition(".")[0] or 0)
        for frame in frames:
            if frame.get("seq", after + 1) > after:
                await connection.send(json.dumps(frame))
        await connection.send(json.dumps({"type": "caught_up", "cursor": f"{len(frames)}.0"}))

    return says


def event(seq: int, kind: str, **data: Any) -> dict[str, Any]:
    """A frame."""
    return {"type": "event", "seq": seq, "cursor": f"{seq}.0", "kind": kind, "turn": "t", "at": "now", "data": data}
