"""Who is compared: the baselines, and the product on each server and through each of its doors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import aiohttp

from bench.load import Call
from bench.servers import Kind, ServerProcess
from bench.stage import Stage

QUESTION = "Say the words."


class Contestant(ABC):
    """A server that streams. `name` is how it is told from others; more streams than `most` it cannot bear."""

    name: str
    most = 1_000

    @abstractmethod
    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        """A fresh server."""

    @abstractmethod
    async def calls(self, stage: Stage, server: ServerProcess, *, count: int) -> Sequence[Call]:
        """So many calls, each of which starts a stream of its own and reads it."""


class Raw(Contestant):
    """Starlette and httpx, raw bytes."""

    name = "raw Starlette + httpx"

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        return stage.application("bench.baselines.raw:application")

    async def calls(self, stage: Stage, server: ServerProcess, *, count: int) -> Sequence[Call]:
        asked = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
        return [Call(path="/stream", body=json.dumps(asked).encode())] * count


class Socket(Contestant):
    """The product's native socket."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.name = f"Verbatim, WebSocket, {kind}"

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        return stage.verbatim(self.kind)

    async def calls(self, stage: Stage, server: ServerProcess, *, count: int) -> Sequence[Call]:
        return [socket_of(stage, made, says=QUESTION) for made in await conversations(stage, server, count=count)]


CONTESTANTS: Sequence[Contestant] = [Raw(), Socket("uvicorn"), Socket("daphne")]


async def conversations(stage: Stage, server: ServerProcess, *, count: int) -> list[str]:
    """The ids of so many new conversations."""
    async with aiohttp.ClientSession(server.url, headers=stage.headers, raise_for_status=True) as session:
        made = []
        for _ in range(count):
            async with session.post("/api/v1/conversations/", json={}) as answer:
                made.append(str((await answer.json())["id"]))
        return made


def socket_of(stage: Stage, conversation: str, *, says: str | None = None, after: str = "") -> Call:
    """A call for the socket of a conversation, on which this is asked."""
    frame = json.dumps({"type": "send", "request_id": conversation, "text": says}) if says is not None else None
    path = f"/ws/conversations/{conversation}/?after={after}"
    return Call(path=path, headers=stage.headers, socket=True, says=frame)
