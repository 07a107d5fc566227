"""Limits of a user that hold however many ask at once on however many processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import aiohttp

from streaming.frames import Error
from tests.client import Client
from tests.provider import ProviderProcess
from tests.server import NewSite, Site

REQUESTS, PROCESSES = 100, 4
PROFILE = {"name": "small", "model": "scripted", "context_window": 100_000, "sampling": {"max_tokens": 1_000}}
SPENT = (
    "import json; from access.models import Spending; from history.models import Turn;"
    "print(json.dumps([list(Spending.objects.values_list('tokens', 'tokens_held')), Turn.objects.count()]))"
)


@contextmanager
def servers(site: Site, key: str, **chat: Any) -> Iterator[list[Client]]:
    """A client of the same user at each of several processes."""
    with ExitStack() as alive, ThreadPoolExecutor() as pool:
        processes = [*pool.map(lambda _: alive.enter_context(site.start("uvicorn", chat=chat)), range(PROCESSES))]
        yield [Client(process.url, key=key) for process in processes]


async def ask_all(clients: list[Client]) -> list[tuple[int, dict[str, Any], str]]:
    """As many requests as there are, at once, each for a conversation of its own: status, body and `Retry-After`. Who
    hears that the server is busy asks again: then nothing was decided."""

    async def ask(session: aiohttp.ClientSession, client: Client) -> tuple[int, dict[str, Any], str]:
        address = f"{client.url}/api/v1/ai/chat/"
        async with session.post(address, json={"query": "Hello?"}, headers=client.headers) as answer:
            body = await answer.json()
            if body.get("code") != "busy":
                return answer.status, body, answer.headers.get("Retry-After", "")
        return await ask(session, client)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(ask(session, clients[at % len(clients)]) for at in range(REQUESTS)))


def spent(site: Site) -> tuple[list[list[int]], int]:
    """What is noted of the user's day, and how many turns there are."""
    rows, turns = json.loads(site.manage("shell", "-v", "0", "-c", SPENT))
    return rows, turns


async def test_100_requests_at_once_on_4_processes_start_as_many_turns_as_a_minute_allows(
    new_postgres_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S5."""
    provider.script([{"text": "Hello."}])
    site, key = new_postgres_site()
    with servers(site, key, TURNS_PER_MINUTE_PER_USER=7, MAX_TURNS_PER_USER=REQUESTS) as clients:
        answers = await ask_all(clients)

    statuses = sorted(status for status, _, _ in answers)
    measured(f"requests per minute: {statuses.count(200)} of {REQUESTS} were taken, 7 are allowed")
    assert statuses == [200] * 7 + [429] * (REQUESTS - 7)
    assert all(1 <= int(seconds) <= 60 for status, _, seconds in answers if status == 429)
    assert len(provider.log()) == 7
    assert spent(site) == ([], 7)


async def test_100_requests_at_once_on_4_processes_overshoot_the_days_tokens_by_one_call_at_most(
    new_postgres_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """S5. Each call uses 1,030 tokens, nearly all that it may; 10,000 are allowed."""
    provider.script([{"text": "Hello."}, {"usage": {"prompt_tokens": 30, "completion_tokens": 1_000}}])
    site, key = new_postgres_site()
    profile = {**PROFILE, "base_url": provider.base_url}
    limits = {"TOKENS_PER_DAY_PER_USER": 10_000, "MAX_TURNS_PER_USER": REQUESTS, "TOOLS": ()}
    with servers(site, key, PROFILES=[profile], DEFAULT_PROFILE="small", **limits) as clients:
        codes = [body.get("code", "ok") for _, body, _ in await ask_all(clients)]
        async with clients[0].socket(await clients[0].new_conversation()) as socket:
            await socket.send("More?")
            refused = await socket.answer()

    [[tokens, held]], _ = spent(site)
    measured(f"tokens per day: {tokens:,} were used, 10,000 are allowed, a call uses 1,030")
    assert set(codes) <= {"ok", "rate_limited", "quota_exceeded"}
    assert codes.count("ok") == len(provider.log()) == 10
    assert (tokens, held) == (10_300, 0)
    assert isinstance(refused, Error)
    assert (refused.code, "used up today's tokens" in refused.message) == ("rate_limited", True)
