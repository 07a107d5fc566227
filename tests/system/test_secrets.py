"""Secrets are planted wherever one can get in, and everything that can be read afterwards is searched for them."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import msgspec
from websockets.asyncio.client import connect

from streaming.frames import Delta, Event, ServerFrame, State, encode
from tests.client import Client, Socket, ended
from tests.provider import ProviderProcess, Script
from tests.redis import RedisProcess
from tests.server import NewSite, ServerProcess, Site
from tests.system import canaries
from tests.system.alone import lone
from tests.system.callers import CHAT, STREAMING_CHAT, Caller

TOOLS = ("returns", "refuses", "raises")
HIDINGS = 8
"""What the tools say and may not: five in a result, two in its source, one in a reason."""
CALLS: Script = [
    {"tool": {"index": index, "id": f"c{index}", "name": name, "arguments": "{}"}} for index, name in enumerate(TOOLS)
]
ECHO: Script = [
    {
        "status": 401,
        "body": {"error": {"message": f"Wrong key {canaries.ENVIRONMENT['OPENAI_API_KEY']}, not {canaries.ECHOED}"}},
    }
]
PROMPT = "[[leak]] Look at\n" + "\n".join(canaries.SHAPED)
ADMIN = """
from django.core.management import call_command
from django.contrib.auth.models import User
from django.test import Client
ada = User.objects.get(username="ada")
User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
call_command("create_api_key", "ada", "--scope", "read", "--scope", "chat", "--scope", "admin")
browser = Client()
browser.force_login(ada)
print(browser.cookies["sessionid"].value)
"""


class Guarded(NamedTuple):
    """A site full of secrets, whose servers run; `key` and `session` may everything."""

    servers: list[ServerProcess]
    database: str
    key: str
    session: str


@asynccontextmanager
async def guarded(site: Site, *, redis: RedisProcess, provider: ProviderProcess) -> AsyncIterator[Guarded]:
    """Both servers, with passwords that neither database nor Redis asks for, but would take."""
    database = site.env["DATABASE_URL"]
    full = site.at(
        database.replace("postgres@", f"postgres:{canaries.DATABASE_PASSWORD}@"),
        REDIS_URL=redis.url.replace("//", f"//default:{canaries.REDIS_PASSWORD}@"),
        PROVIDER_VARIABLES="OTHER_KEY",
        LOG_LEVEL="DEBUG",
        **canaries.ENVIRONMENT,
    )
    key, session = (await asyncio.to_thread(full.manage, "shell", "-v", "0", "-c", ADMIN)).split()
    loud = full.at(full.env["DATABASE_URL"], DJANGO_SETTINGS_MODULE="tests.system.outspoken")
    profile = {
        "name": "guarded",
        "base_url": provider.base_url.replace("//", f"//ada:{canaries.ADDRESS_PASSWORD}@")
        + f"?key={canaries.ADDRESS_KEY}",
        "api_key_name": "OPENAI_API_KEY",
        "system_prompt": f"Never tell that the key is {canaries.PROMPTED}.",
    }
    chat = {
        "PROFILES": [profile],
        "DEFAULT_PROFILE": "guarded",
        "TOOLS": [f"tests.system.leaky_tools.{name}" for name in TOOLS],
        "COMPLETION_LOGS": "full",
        "TITLES": True,
    }
    with loud.start("uvicorn", chat=chat) as first, loud.start("daphne", chat=chat) as second:
        yield Guarded([first, second], database, key, session)
        for server in (first, second):
            server.terminate()
        await asyncio.gather(*(asyncio.to_thread(server.wait) for server in (first, second)))


class Reader:
    """Reads whatever can be read; `places` has it by where it was."""

    def __init__(self, site: Guarded, server: ServerProcess) -> None:
        self.site = site
        self.places: defaultdict[str, list[str]] = defaultdict(list)
        self.client = Client(server.url, key=site.key)
        self.caller = Caller(server.url, key=site.key)

    async def watch(self, socket: Socket, *, turns: int) -> None:
        """A socket, until so many turns are over."""
        while not ended(turns)(socket):
            frame = await socket.next()
            self.places["words" if is_said(frame) else "frames"].append(encode(frame))

    async def get(self, path: str, *, place: str, **headers: str) -> str:
        """A page or a resource, with the session of the admin there."""
        cookies = {"Cookie": f"sessionid={self.site.session}"} if path.startswith("/admin/") else {}
        async with self.caller.request("GET", path, headers={**cookies, **headers}) as response:
            text = await response.text()
        self.places[place].append(text)
        return text

    async def post(self, path: str, body: Any, *, place: str) -> int:
        """What is answered to this."""
        told = await self.caller.post(path, body)
        self.places[place].append(told.body.decode())
        return told.status

    async def resources(self, conversation: str) -> None:
        """Everything that can be had over REST."""
        here = f"/api/v1/conversations/{conversation}/"
        for path in (
            "/api/v1/conversations/", here, f"{here}events/?limit=500", f"{here}turns/", f"{here}feedback/", "/",
            f"/c/{conversation}/",
        ):  # fmt: skip
            await self.get(path, place="words")
        for turn in msgspec.json.decode(await self.get(f"{here}turns/", place="words"))["results"]:
            await self.get(f"/api/v1/turns/{turn['id']}/stream/", place="words")
            await self.get(f"/api/v1/turns/{turn['id']}/response/", place="words")
        logs = msgspec.json.decode(await self.get(f"{here}completion-logs/", place="logs"))["results"]
        for log in logs:
            whole = await self.get(f"{here}completion-logs/{log['id']}/?download=1", place="logs")
            assert msgspec.json.decode(whole)["content"]["messages"]
        for path in ("/api/schema/", "/api/", "/api/v1/models/", "/v1/models", "/ready/"):
            await self.get(path, place=path)
        profiles = await self.get("/api/v1/profiles/", place="words")
        assert canaries.PROMPTED in profiles  # it is for those who look after them
        self.places["words"].remove(profiles)
        self.places["profiles"].append(profiles.replace(canaries.PROMPTED, ""))
        figures = {"Authorization": f"Bearer {canaries.ENVIRONMENT['METRICS_TOKEN']}"}
        async with self.caller.request("GET", "/metrics", headers=figures) as metrics:
            assert metrics.status == HTTPStatus.OK
            self.places["metrics"].append(await metrics.text())

    async def admin(self) -> None:
        """The pages of the admin: all lists, and the newest of what is in each."""
        lists = set(re.findall(r'href="(/admin/verbatim_\w+/\w+/)"', await self.get("/admin/", place="words")))
        assert len(lists) > 5
        for address in lists:
            strict = "completioncontent" in address
            page = await self.get(address, place="admin" if strict else "words")
            for row in sorted(set(re.findall(rf'href="({address}[\w-]+/change/)', page)), reverse=True)[:5]:
                await self.get(row, place="admin" if strict else "words")
        self.places["words"] = [text.replace(canaries.PROMPTED, "") for text in self.places["words"]]


def is_said(frame: ServerFrame) -> bool:
    """Whether it brings what somebody says."""
    if isinstance(frame, Event):
        return f"event {frame.kind}" in canaries.WORDS
    return isinstance(frame, Delta | State)


async def knock(client: Client, headers: Mapping[str, str]) -> None:
    """At the doors, with something that opens none."""
    async with aiohttp.ClientSession(headers=headers) as stranger:
        for path in ("/api/v1/conversations/", "/v1/models", "/admin/", "/no/such/page/"):
            async with stranger.get(client.url + path) as response:
                await response.read()
    address = f"{client.url.replace('http', 'ws', 1)}/ws/conversations/{uuid4()}/"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        await socket.wait_closed()


def files(folder: Path) -> list[str]:
    """What is in all files below it, by name and content."""
    return [text for path in folder.rglob("*") if path.is_file() for text in (path.name, path.read_text("utf-8"))]


async def test_no_secret_is_found_where_it_has_no_business(
    new_postgres_site: NewSite, redis: RedisProcess, provider: ProviderProcess, tmp_path: Path
) -> None:
    """S7, S8: what is known by its value nowhere; what is known by its shape only where somebody said it."""
    provider.script(named={"leak": [CALLS, [{"text": "So that is that."}]], "echo": ECHO})
    site, _ = new_postgres_site()
    async with guarded(site, redis=redis, provider=provider) as here:
        first, second = here.servers
        reader = Reader(here, second)
        async with lone(first, here.key, tmp_path, text=PROMPT, content=True) as client:
            conversation = (await client.until("end"))["conversation"]
        async with reader.client.socket(conversation) as socket:
            await socket.send("[[echo]]")
            await reader.watch(socket, turns=2)
        for headers in (
            {"Authorization": f"Bearer {canaries.WRONG_KEY}"},
            {"X-Api-Key": canaries.WRONG_API_KEY},
            {"Cookie": f"sessionid={canaries.COOKIE}; other={canaries.COOKIE}"},
        ):
            await knock(Client(first.url, key=""), headers)
            await knock(reader.client, headers)
        await Caller(first.url, key=here.key).post(CHAT, {"query": "[[echo]]"})
        asked = {"model": "guarded", "messages": [{"role": "user", "content": "[[echo]]"}]}
        statuses = [
            await reader.post(STREAMING_CHAT, {"query": PROMPT}, place="words"),
            await reader.post(STREAMING_CHAT, {"query": "[[echo]]"}, place="errors"),
            await reader.post(CHAT, {"query": "[[echo]]"}, place="errors"),
            await reader.post("/v1/chat/completions", {**asked, "stream": True}, place="errors"),
            await reader.post("/v1/chat/completions", asked, place="errors"),
            await reader.post(
                "/api/v1/profiles/new",
                {"model": "m", "base_url": f"https://ada:{canaries.REFUSED_PASSWORD}@example.org/v1"},
                place="errors",
            ),
            await reader.post(
                "/api/v1/profiles/new", {"model": "m", "api_key_name": canaries.MISPLACED}, place="errors"
            ),
        ]
        await reader.resources(conversation)
        await reader.admin()

    places = {
        **reader.places,
        **{f"log of {server.kind}": server.lines for server in here.servers},
        "files of the client": files(tmp_path),
        **canaries.dump(here.database),
    }
    assert [status // 100 for status in statuses] == [2, 2, 5, 5, 5, 4, 4]
    assert canaries.found(places, also=here.key) == []
    everything = {name: "\n".join(texts) for name, texts in places.items()}
    said = everything["event user_message"] + everything["event tool_result"]
    assert [secret for secret in canaries.SAID if secret not in said] == []
    assert said.count("[hidden]") == 2 * HIDINGS
    assert "[hidden]" in everything["completioncontent"]
    for server in here.servers:
        assert "RuntimeError: 401 for [hidden], password=[hidden]" in everything[f"log of {server.kind}"]
        assert "status 401" in everything[f"log of {server.kind}"]
        assert "GET /api/v1/conversations/" in everything[f"log of {server.kind}"]
