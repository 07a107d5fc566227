"""Limits and revocation of keys at four processes, two of each server, with one PostgreSQL and one Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import NamedTuple

import aiohttp
import pytest

from chat.close import Close
from tests.client import Client, caught_up, says
from tests.provider import ProviderProcess
from tests.server import ServerProcess
from tests.system.cluster import Cluster, NewCluster, scaled

REQUESTS = 100
REVOKED = scaled(5, 15)
"""Seconds within which a revoked key has nothing open any more: as promised, and thrice that beside other tests."""
COMPLETIONS = "/v1/chat/completions"
PROFILE = {
    "name": "small",
    "model": "scripted",
    "context_window": 100_000,
    "sampling": {"max_tokens": 1_000},
    "prices": {"input": 1_000, "output": 1_000},
}
ENDLESS = [{"text": "On and on"}, {"gate": "never"}]
MAKE = """
import json
from access.keys import create_key
from django.contrib.auth.models import User
from django.test import Client
limits = {"minute": {"turns_per_minute": 7}, "turns": {"max_turns": 5}, "cost": {"cost_per_day": 10}, "revoked": {}}
made = {}
for name, limit in limits.items():
    key = create_key(User.objects.create_user(name))
    type(key.row).objects.filter(pk=key.row.pk).update(**limit)
    made[name] = (key.row.pk, key.text)
client = Client()
client.force_login(User.objects.create_superuser("root"))
print(json.dumps([made, client.cookies["sessionid"].value]))
"""


class Crowd(NamedTuple):
    """A cluster, keys with limits by their names, and the session of somebody who may do everything in the admin."""

    cluster: Cluster
    keys: Mapping[str, tuple[int, str]]
    session: str

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name][1]}"}

    @asynccontextmanager
    async def admin(self, server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
        """Their browser, at one of the servers."""
        cookies = {"sessionid": self.session, "csrftoken": "c" * 32}
        async with aiohttp.ClientSession(server.url, cookies=cookies, headers={"X-CSRFToken": "c" * 32}) as browser:
            yield browser


@pytest.fixture(scope="module")
def crowd(make_cluster: NewCluster, provider_process: ProviderProcess) -> Iterator[Crowd]:
    """All rights are looked at again every hour only."""
    profile = {**PROFILE, "base_url": provider_process.base_url}
    chat = {"PROFILES": [profile], "DEFAULT_PROFILE": "small", "TOOLS": (), "RECHECK": 3_600.0}
    with make_cluster("PostgreSQL", chat=chat) as cluster:
        keys, session = json.loads(cluster.site.manage("shell", "-v", "0", "-c", MAKE))
        yield Crowd(cluster, keys, session)
        assert cluster.tracebacks() == []


class Told(NamedTuple):
    """What one of the requests was told: `code` is none for an answer."""

    status: int
    code: str | None
    headers: Mapping[str, str]


async def ask(http: aiohttp.ClientSession, address: str) -> Told:
    """One request. Who hears that the server is busy asks again: then nothing was decided."""
    body = {"model": "small", "messages": [{"role": "user", "content": "Hello?"}]}
    while True:
        async with http.post(address, json=body) as answer:
            error = (await answer.json()).get("error")
        if error is None or error["code"] != "busy":
            return Told(answer.status, error and error["code"], answer.headers)


@asynccontextmanager
async def all_asking(crowd: Crowd, name: str) -> AsyncIterator[list[asyncio.Task[Told]]]:
    """A hundred requests at once with one key, at all servers."""
    connector = aiohttp.TCPConnector(limit=0)
    urls = [server.url for server in crowd.cluster.servers]
    async with (
        aiohttp.ClientSession(headers=crowd.headers(name), connector=connector) as http,
        asyncio.TaskGroup() as group,
    ):
        yield [group.create_task(ask(http, f"{urls[at % len(urls)]}{COMPLETIONS}")) for at in range(REQUESTS)]


async def test_100_requests_at_once_are_answered_as_often_as_the_keys_minute_allows(
    crowd: Crowd, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S5."""
    provider.script([{"text": "Hello."}])

    async with all_asking(crowd, "minute") as asking:
        told = await asyncio.gather(*asking)

    statuses = sorted(each.status for each in told)
    refused = [each for each in told if each.status == 429]
    measured(f"gateway, requests per minute: {statuses.count(200)} of {REQUESTS} were taken, 7 are allowed")
    assert statuses == [200] * 7 + [429] * (REQUESTS - 7)
    assert {each.code for each in refused} == {"rate_limit_exceeded"}
    assert {each.headers["x-ratelimit-remaining-requests"] for each in refused} == {"0"}
    assert {each.headers["x-ratelimit-limit-requests"] for each in told} == {"7"}
    assert all(1 <= int(each.headers["Retry-After"]) <= 61 for each in refused)
    assert len(provider.log()) == 7


async def test_of_100_requests_at_once_as_many_are_in_progress_as_the_key_may_have(
    crowd: Crowd, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S5."""
    provider.script([{"gate": "all"}, {"text": "Hello."}])

    async with all_asking(crowd, "turns") as asking:
        waiting = set(asking)
        async with asyncio.timeout(90):
            while len(waiting) > 5:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while_they_run = len(await provider.requests_async(5, timeout=60))
        await asyncio.to_thread(provider.open_gate, "all")
        told = await asyncio.gather(*asking)

    statuses = sorted(each.status for each in told)
    measured(f"gateway, at a time: {statuses.count(200)} of {REQUESTS} were taken, 5 are allowed")
    assert statuses == [200] * 5 + [429] * (REQUESTS - 5)
    assert while_they_run == len(provider.log()) == 5


async def test_100_requests_at_once_overshoot_the_keys_cost_by_one_call_at_most(
    crowd: Crowd, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S5, R23. Each call costs $1.03, nearly all that it may; the admin shows what the log adds up to."""
    provider.script([{"text": "Hello."}, {"usage": {"prompt_tokens": 30, "completion_tokens": 1_000}}])
    key_id = crowd.keys["cost"][0]

    async with all_asking(crowd, "cost") as asking:
        told = await asyncio.gather(*asking)

    [(cost, held)] = crowd.cluster.rows(
        "SELECT cost, cost_held FROM verbatim_access_spending WHERE key_id = %s", key_id
    )
    [(turns, in_log)] = crowd.cluster.rows(
        "SELECT count(*), sum((event.data->>'cost')::numeric) FROM verbatim_history_event event"
        " JOIN verbatim_history_turn turn ON turn.id = event.turn_id WHERE kind = 'turn_ended' AND key_id = %s",
        key_id,
    )
    async with (
        crowd.admin(crowd.cluster.servers[0]) as browser,
        browser.get(f"/admin/verbatim_access/apikey/{key_id}/change/") as page,
    ):
        shown = await page.text()
    measured(f"gateway, cost per day: ${cost:.2f} were used, $10 are allowed, a call costs $1.03")
    codes = [each.code for each in told]
    assert set(codes) <= {None, "rate_limit_exceeded", "insufficient_quota"}
    assert codes.count(None) == len(provider.log()) == 10
    assert (cost, held) == (Decimal("10.3"), 0)
    assert in_log == cost
    assert f"{turns} answers, 10,300 tokens, $10.300000" in shown


async def test_a_key_that_is_revoked_at_one_process_ends_what_it_has_open_at_all_of_them(
    crowd: Crowd, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S3. Over every door that stays open."""
    provider.script(ENDLESS)
    key_id, text = crowd.keys["revoked"]
    first, second, third, fourth = crowd.cluster.servers
    viewer = Client(first.url, key=text)
    conversation = await viewer.new_conversation()
    messages = [{"role": "user", "content": "Go on."}]
    asked = {
        f"{second.url}{COMPLETIONS}": {"model": "small", "messages": messages, "stream": True},
        f"{third.url}/api/v1/ai/streaming_chat/": {"query": "Go on."},
    }
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(headers=crowd.headers("revoked")))
        socket = await stack.enter_async_context(viewer.socket(conversation))
        await socket.until(caught_up)
        await socket.send("Go on.")
        await socket.until(says("On and on"))
        streams = [await stack.enter_async_context(http.post(url, json=body)) for url, body in asked.items()]
        streams.append(
            await stack.enter_async_context(http.get(f"{fourth.url}/api/v1/conversations/{conversation}/stream/"))
        )
        for stream in streams:
            await until_said(stream)
        began = asyncio.get_running_loop().time()

        async with crowd.admin(first) as browser:
            form = {"action": "revoke_keys", "_selected_action": str(key_id)}
            async with browser.post("/admin/verbatim_access/apikey/", data=form, allow_redirects=False) as done:
                assert done.status == 302
        async with asyncio.timeout(30):
            rest = await asyncio.gather(*(stream.read() for stream in streams))
            code = await socket.until_closed()
        took = asyncio.get_running_loop().time() - began

    measured(f"revoked: all streams had ended after {took:.1f} s, 5 s are promised")
    assert took <= REVOKED
    assert code == Close.UNAUTHENTICATED
    assert b'"code":"invalid_api_key"' in rest[0]
    assert [b"access_ended" in told for told in rest[1:]] == [True, True]


async def until_said(response: aiohttp.ClientResponse) -> None:
    """Until the first words have come."""
    assert response.status == 200
    said = b""
    async with asyncio.timeout(30):
        while b"On and on" not in said:
            said += await response.content.readany()
