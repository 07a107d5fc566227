"""What operators see of two processes, one of which is killed: Prometheus' figures at either, and lines of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.client import Client, ended, says
from tests.provider import ProviderProcess
from tests.server import KINDS, NewSite, ServerProcess

TOKEN = "scrape-the-figures-with-this"
REQUEST = "the-request-of-this-test"
CHAT: dict[str, Any] = {"METRICS_TOKEN": TOKEN, "DEFAULT_PROFILE": "small", "LEASE": 1.5, "LEASE_RENEWAL": 0.3}
PRICED = {"name": "small", "model": "scripted", "prices": {"input": 1_000, "output": 1_000}}
USAGE = {"usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}}
SILENT = [{"text": "Long"}, {"gate": "never"}]


class Pair(NamedTuple):
    """Two processes of one machine, and the key of their user."""

    servers: list[ServerProcess]
    key: str

    @property
    def clients(self) -> list[Client]:
        return [Client(server.url, key=self.key) for server in self.servers]


class Figures(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """One exposition."""

    def of(self, name: str, **labels: str) -> float:
        """The sum over all samples of that name which have these labels."""
        wanted = set(labels.items())
        return sum(value for (named, has), value in self.items() if named == f"verbatim_{name}" and wanted <= has)


@pytest.fixture
def pair(new_site: NewSite, provider_process: ProviderProcess, tmp_path: Path) -> Iterator[Pair]:
    """They share a folder, and write JSON."""
    site, key = new_site()
    folder = tmp_path / "figures"
    folder.mkdir()
    site = site.plain().at(site.env["DATABASE_URL"], PROMETHEUS_MULTIPROC_DIR=str(folder), LOG_FORMAT="json")
    chat = {**CHAT, "PROFILES": [{**PRICED, "base_url": provider_process.base_url}]}
    with ExitStack() as alive:
        yield Pair([alive.enter_context(site.start(kind, chat=chat)) for kind in KINDS], key)


async def figures(server: ServerProcess, *, until: Callable[[Figures], bool]) -> Figures:
    """What Prometheus reads there, once it is so."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with asyncio.timeout(30), aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        while True:
            async with http.get(f"{server.url}/metrics") as answer:
                text = await answer.text()
            samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
            found = Figures({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})
            if until(found):
                return found
            await asyncio.sleep(0.1)


async def test_either_process_tells_the_figures_of_both_and_of_one_that_is_gone(
    pair: Pair, provider: ProviderProcess
) -> None:
    provider.script(
        [{"text": "Well."}, USAGE], queue=[[{"text": "Well."}, USAGE], [{"status": 401, "body": {}}], SILENT]
    )
    (first, second), (here, there) = pair.servers, pair.clients
    async with here.socket(await here.new_conversation()) as socket:
        await socket.send()
        await socket.until(ended(1))
        await socket.send()
        await socket.until(ended(2))
    conversation = await here.new_conversation()
    async with there.socket(conversation) as viewer:
        async with here.socket(conversation) as socket:
            await socket.send()
            await socket.until(says("Long"))
            both = [
                await figures(server, until=lambda found: found.of("running_turns") == 1 and found.of("viewers") == 2)
                for server in pair.servers
            ]
            first.kill()
        await viewer.until(ended())
    after = await figures(second, until=lambda found: found.of("running_turns") == found.of("open_sockets") == 0)

    for found in both:
        assert found.of("open_sockets") == 2
        assert found.of("turns_total", status="completed") == found.of("turns_total", status="failed") == 1
        assert found.of("tokens_total", model="scripted", usage_id="agent", kind="prompt") == 20
        assert found.of("tokens_total", kind="completion") == 5
        assert found.of("cost_usd_total") == pytest.approx(0.025)
        assert found.of("provider_errors_total", model="scripted") == 1
        assert found.of("first_token_seconds_count") == 1
        assert found.of("takeovers_total") == 0
        assert found.of("writer_lag_seconds") < 30
    assert after.of("takeovers_total", reason="lost") == 1
    assert after.of("turns_total", status="completed") == 2
    assert after.of("model_calls_total", outcome="lost") == 1
    assert after.of("model_calls_total", outcome="completed") == 2


async def test_lines_about_a_turn_name_it_and_the_request_that_it_came_with(
    pair: Pair, provider: ProviderProcess
) -> None:
    provider.script([{"text": "Well."}])
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
    for client in pair.clients:
        async with (
            aiohttp.ClientSession(headers={**client.headers, "X-Request-ID": REQUEST}) as http,
            http.post(f"{client.url}/v1/chat/completions", json=body) as answer,
        ):
            turn, conversation = (answer.headers[name] for name in ("X-Request-ID", "X-Verbatim-Conversation-ID"))
    async with pair.clients[0].socket(await pair.clients[0].new_conversation()) as socket:
        await socket.send()
        await socket.until(ended())
        [by_socket] = {event["turn"] for event in socket.folded.events.values()}
    for server in pair.servers:
        server.terminate()
        server.wait()

    lines = [json.loads(line) for server in pair.servers for line in server.lines if line.startswith("{")]
    assert {"conversation": conversation, "turn": turn, "request": REQUEST}.items() <= next(
        line for line in lines if line.get("turn") == turn
    ).items()
    assert len(next(line["request"] for line in lines if line.get("turn") == by_socket)) == 32
    assert [line["event"] for line in lines if line.get("turn") == turn] == [
        "the turn is running",
        "the turn is completed",
    ]
    assert [line for server in pair.servers for line in server.lines if not line.startswith("{")] == []
