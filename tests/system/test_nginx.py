"""Through nginx as `deploy/nginx.conf` sets it up: words come as they are said, what breaks heals."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import aiohttp
import psutil
import pytest
from msgspec import json
from websockets.exceptions import ConnectionClosed

from tests import lightspeed
from tests.client import Client
from tests.lightspeed import with_key
from tests.nginx import Nginx, both_behind_nginx
from tests.provider import ProviderProcess, Script
from tests.server import Kind, NewSite, ServerProcess, Site
from tests.sse import Reader
from tests.system.callers import CHAT, PATIENCE, Caller
from tests.system.held import kinds
from tests.system.viewers import Viewer, assert_lawful, fresh_read

WORDS, RATE = 30, 10
SPOKEN: Script = [{"words": WORDS, "rate": RATE, "stamped": True}]
BEARABLE = 0.75
"""Seconds behind the provider for nine words of ten. Whoever holds words back until there are 4 KiB of them, or until
the answer ends, is behind by more than that; a busy machine is not."""
SOON = {"LEASE": 3.0, "LEASE_RENEWAL": 1.0, "POSITION_POLL": 0.5}
"""Processes that soon see what happens to others."""
STAMPED = re.compile(rb"(w\d{4})@(\d{16}) ")


class Arrivals:
    """When each word came, and how far that was behind the provider, in seconds. A word that comes again is old."""

    def __init__(self) -> None:
        self.behind: dict[bytes, float] = {}
        self.moments: set[float] = set()
        self._heard = b""

    def hear(self, data: bytes) -> Arrivals:
        now = time.time()
        self._heard += data
        for word, stamp in STAMPED.findall(self._heard):
            if word not in self.behind:
                self.behind[word] = now - int(stamp) / 1e6
                self.moments.add(now)
        return self

    @property
    def all_there(self) -> bool:
        return len(self.behind) == WORDS


async def on_socket(client: Client) -> Arrivals:
    arrivals = Arrivals()
    async with client.socket(await client.new_conversation()) as socket:
        await socket.send("Speak.")
        while not arrivals.all_there:
            arrivals.hear(json.encode(await socket.next()))
    return arrivals


async def on_native_stream(client: Client) -> Arrivals:
    arrivals = Arrivals()
    conversation = await client.new_conversation()
    async with (
        client.socket(conversation) as socket,
        aiohttp.ClientSession(headers=client.headers, timeout=PATIENCE) as session,
    ):
        stream = f"{client.url}/api/v1/conversations/{conversation}/stream/"
        async with session.get(stream, headers={"Accept-Encoding": "gzip"}) as response:
            assert "Content-Encoding" not in response.headers
            await socket.send("Speak.")
            async for chunk in response.content.iter_any():
                if arrivals.hear(chunk).all_there:
                    break
    return arrivals


async def on_streaming_chat(client: Client) -> Arrivals:
    arrivals = Arrivals()
    async with Caller(client.url, key=client.headers["Authorization"].split()[1]).request(
        "POST", lightspeed.ADDRESS, {"query": "Speak."}, {"Accept-Encoding": "gzip"}
    ) as response:
        assert "Content-Encoding" not in response.headers
        async for chunk in response.content.iter_any():
            arrivals.hear(chunk)
    return arrivals


async def follows(viewer: Viewer, client: Client) -> int:
    """Come back whenever the line breaks, until the turn is over; how often it broke."""
    breaks = 0
    while True:
        try:
            await viewer.until(lambda folded: "turn_ended" in kinds(folded))
        except ConnectionClosed:
            breaks += 1
            await viewer.go_on(client)
        else:
            return breaks


async def appends(client: Client, query: str) -> tuple[int, Reader]:
    """The same as a client of `streaming_chat`, which can only append."""
    breaks, reader = 0, Reader()
    while True:
        async with with_key(client).ask(query, reader=reader) as stream:
            try:
                await stream.until(lambda reader: "turn_complete" in lightspeed.names(reader))
            except (EOFError, aiohttp.ClientPayloadError):
                breaks += 1
            else:
                return breaks, reader


def asked_the_provider(server: ServerProcess, *, provider: ProviderProcess) -> bool:
    """Whether this process has a connection to the provider."""
    return any(
        line.raddr and line.raddr.port == provider.port for line in psutil.Process(server.pid).net_connections("tcp")
    )


async def test_words_come_at_the_pace_at_which_they_are_said(
    server: ServerProcess, key: str, provider: ProviderProcess, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    provider.script(SPOKEN)
    with Nginx(tmp_path, server, server) as nginx:
        client = Client(nginx.url, key=key)
        async with asyncio.timeout(60):
            heard = await asyncio.gather(on_socket(client), on_native_stream(client), on_streaming_chat(client))

    for transport, arrivals in zip(("WebSocket", "native SSE", "streaming_chat"), heard, strict=True):
        behind = sorted(arrivals.behind.values())
        gaps = [later - sooner for sooner, later in pairwise(sorted(arrivals.moments))]
        measured(
            f"through nginx, {server.kind}, {transport}: {behind[WORDS * 9 // 10] * 1e3:.1f} ms behind the provider"
            f" (p90), {statistics.median(gaps) * 1e3:.0f} ms between words said every {1e3 / RATE:.0f} ms"
        )
        assert len(behind) == WORDS
        assert behind[WORDS * 9 // 10] < BEARABLE
        assert len(arrivals.moments) > WORDS / 2


async def test_after_a_reload_who_was_cut_goes_on_where_it_was(
    new_site: NewSite, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.script([{"words": 60, "rate": 10}])
    site, key = new_site()
    hasty = {"worker_shutdown_timeout 660s": "worker_shutdown_timeout 1s"}
    with both_behind_nginx(site, tmp_path, chat=SOON, changes=hasty) as (_, _, nginx):
        client = Client(nginx.url, key=key)
        viewer = await Viewer(await client.new_conversation()).go_on(client)
        appending = asyncio.create_task(appends(client, "Speak to me too."))
        await viewer.send("Speak.")
        await viewer.until(lambda folded: "w0010" in folded.draft)

        await asyncio.to_thread(nginx.reload)
        breaks = await follows(viewer, client)
        (breaks_of_appending, reader), fresh = await asyncio.gather(appending, fresh_read(client, viewer.conversation))
        await viewer.cut()
        stored = await lightspeed.stored(client, lightspeed.start(reader)["conversation_id"])

    assert (breaks, breaks_of_appending) == (1, 1)
    assert_lawful(viewer, fresh)
    assert lightspeed.text(reader) == stored
    assert len(provider.log()) == 2


@pytest.mark.parametrize("victim", ["the process that asks the model", "the other one"])
async def test_after_the_loss_of_a_process_all_its_viewers_come_back_through_nginx(
    victim: str, new_site: NewSite, provider: ProviderProcess, tmp_path: Path
) -> None:
    """Two viewers are on two processes, because nginx shares connections evenly, so one of them loses its line."""
    provider.script([{"words": 60, "rate": 10}])
    site, key = new_site()
    with both_behind_nginx(site, tmp_path, chat=SOON) as (daphne, uvicorn, nginx):
        client, asker = Client(nginx.url, key=key), Client(daphne.url, key=key)
        conversation = await client.new_conversation()
        viewers = [await Viewer(conversation).go_on(client) for _ in range(2)]
        async with asker.socket(conversation) as socket:
            await socket.send("Speak.")
            await asyncio.gather(*(viewer.until(lambda folded: "w0010" in folded.draft) for viewer in viewers))
            (daphne if victim == "the process that asks the model" else uvicorn).kill()
        breaks = await asyncio.gather(*(follows(viewer, client) for viewer in viewers))
        fresh = await fresh_read(client, conversation)
        for viewer in viewers:
            await viewer.cut()

    assert sorted(breaks) == [0, 1]
    for viewer in viewers:
        assert_lawful(viewer, fresh)


async def test_a_post_whose_process_dies_is_not_sent_to_another(
    new_site: NewSite, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.script([{"text": "Sent twice."}], queue=[[{"open": True}, {"gate": "never"}]])
    site, key = new_site()
    with both_behind_nginx(site, tmp_path, chat={"LEASE": 60.0}) as (daphne, uvicorn, nginx):
        caller = Caller(nginx.url, key=key)
        asking = asyncio.create_task(caller.ask(CHAT, "Speak."))
        await provider.requests_async(1)
        [asked] = [server for server in (daphne, uvicorn) if asked_the_provider(server, provider=provider)]

        await asyncio.to_thread(asked.kill)
        told = await asking
        conversations = await caller.get("/api/v1/conversations/")
        alive = [(await caller.get("/live/")).status for _ in range(4)]

    assert told.status == 502
    assert len(provider.log()) == 1
    assert len(conversations.json["results"]) == 1
    assert alive == [200] * 4, "what is not sent yet goes to the one that is there"


@pytest.mark.parametrize("size", [262_144 + 1, 512 * 1024 + 1], ids=["the application", "nginx"])
async def test_a_body_that_is_too_large_gets_a_coded_error_from(
    size: int, servers: Callable[[Kind], ServerProcess], key: str, tmp_path: Path
) -> None:
    with Nginx(tmp_path, servers("daphne"), servers("uvicorn")) as nginx:
        told = await Caller(nginx.url, key=key).ask(CHAT, "x" * size)

    assert (told.status, told.headers["Content-Type"]) == (413, "application/problem+json")
    assert told.json["code"] == "text_too_long"
    assert told.json.keys() == {"type", "title", "status", "detail", "code"}


async def test_nobody_can_claim_to_come_over_https(site: Site, key: str, tmp_path: Path) -> None:
    """Whether the site takes a request for one over HTTPS shows in its Strict-Transport-Security."""
    site = site.at(site.env["DATABASE_URL"])
    site.env |= {"BEHIND_PROXY": "1", "HSTS_SECONDS": "60"}
    claim = {"X-Forwarded-Proto": "https"}
    with both_behind_nginx(site, tmp_path) as (daphne, _, nginx):
        async with (
            Caller(daphne.url, key=key).request("GET", "/live/", headers=claim) as direct,
            Caller(nginx.url, key=key).request("GET", "/live/", headers=claim) as through,
        ):
            told = ["Strict-Transport-Security" in response.headers for response in (direct, through)]

    assert told == [True, False]
