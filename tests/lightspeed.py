"""A client of `streaming_chat/` over real HTTP, which appends what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.client import Client
from tests.server import ServerProcess, Site
from tests.sse import Reader

ADDRESS = "/api/v1/ai/streaming_chat/"
CSRF = "a" * 32
SIGN_IN = (
    "from django.contrib.auth.models import User; from django.contrib.sessions.backends.db import SessionStore;"
    "user, _ = User.objects.get_or_create(username={!r}); session = SessionStore();"
    "session['_auth_user_id'] = str(user.pk); session['_auth_user_hash'] = user.get_session_auth_hash();"
    "session['_auth_user_backend'] = 'django.contrib.auth.backends.ModelBackend'; session.save();"
    "print(session.session_key)"
)


class Stream:
    """An answer on its way. What comes goes into `reader`, and as it is into `received`."""

    def __init__(self, response: aiohttp.ClientResponse, reader: Reader) -> None:
        self.status = response.status
        self.headers = response.headers
        self.reader = reader
        self.received = b""
        self._content = response.content

    async def until(self, done: Callable[[Reader], bool], *, seconds: float = 30) -> Stream:
        """Read until it is as wanted. Raises `TimeoutError`, or `EOFError` if the answer ends before that."""
        async with asyncio.timeout(seconds):
            while not done(self.reader):
                chunk = await self._content.readany()
                if not chunk:
                    raise EOFError(self.received)
                self._take(chunk)
        return self

    async def to_the_end(self, *, seconds: float = 30) -> Stream:
        """Read all that still comes."""
        async with asyncio.timeout(seconds):
            self._take(await self._content.read())
        return self

    def _take(self, chunk: bytes) -> None:
        self.received += chunk
        if self.headers["Content-Type"] == "text/event-stream":
            self.reader.feed(chunk)


class Asker:
    """Somebody who posts questions."""

    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        self.url = url
        self.headers = dict(headers)

    @asynccontextmanager
    async def ask(
        self, query: str = "Go on.", *, reader: Reader | None = None, key: str | None = None, **fields: Any
    ) -> AsyncIterator[Stream]:
        """Post it; a reader that has a position goes on there, as fetch-event-source does."""
        reader = reader.reconnected() if reader is not None else Reader()
        headers = {
            **self.headers,
            **({"Last-Event-ID": reader.position} if reader.position else {}),
            **({"Idempotency-Key": key} if key is not None else {}),
        }
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(self.url + ADDRESS, json={"query": query, **fields}) as response,
        ):
            yield Stream(response, reader)

    async def answer(self, query: str = "Go on.", **options: Any) -> Stream:
        """The whole answer."""
        async with self.ask(query, **options) as stream:
            return await stream.to_the_end()

    async def interrupt(self, turn: str) -> tuple[int, Any]:
        """Status and body of the answer to an interrupt."""
        async with (
            aiohttp.ClientSession(headers=self.headers) as session,
            session.post(f"{self.url}{ADDRESS}interrupt/", json={"request_id": turn}) as response,
        ):
            return response.status, await response.json()


def with_key(client: Client) -> Asker:
    """The same user, with the same key."""
    return Asker(client.url, headers=client.headers)


def in_browser(site: Site, server: ServerProcess, *, user: str) -> Asker:
    """A user who is signed in."""
    session = site.manage("shell", "-c", SIGN_IN.format(user)).split()[-1]
    return Asker(server.url, headers={"Cookie": f"sessionid={session}; csrftoken={CSRF}", "X-CSRFToken": CSRF})


def frames(reader: Reader, *names: str) -> list[dict[str, Any]]:
    """The data of all events of these names, or all frames."""
    found = [message.json for message in reader.messages]
    return [frame["data"] for frame in found if frame["event"] in names] if names else found


def names(reader: Reader) -> list[str]:
    """The names of all events, neighbouring tokens as one."""
    found = [frame["event"] for frame in frames(reader)]
    return [name for at, name in enumerate(found) if name != "token" or found[at - 1] != "token"]


def text(reader: Reader) -> str:
    """What a client has that appends every token."""
    return "".join(data["token"] for data in frames(reader, "token"))


def start(reader: Reader) -> dict[str, Any]:
    """The first frame's data."""
    data: dict[str, Any] = frames(reader, "start")[0]
    return data


def beats(count: int) -> Callable[[Reader], bool]:
    """So many signs of life have come, for `until`."""
    return lambda reader: len(reader.comments) >= count


def says(words: str) -> Callable[[Reader], bool]:
    """The text has come to this, for `until`."""
    return lambda reader: words in text(reader)


async def stored(client: Client, conversation: str) -> str:
    """The text of all messages of the model, as it is stored."""
    events = await client.events(conversation)
    return "".join(event["data"]["text"] for event in events if event["kind"] == "assistant_message")
