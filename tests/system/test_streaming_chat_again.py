"""Asking lightspeed's door twice: what is cut off goes on, what is repeated joins, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from tests.client import Client
from tests.lightspeed import Asker, frames, in_browser, names, says, start, stored, text, with_key
from tests.provider import ProviderProcess, Script
from tests.server import Kind, NewSite, ServerProcess, Site
from tests.sse import Reader
from tests.system.test_rights import REVOKE

TWO_SERVERS = {"BATCH_INTERVAL": 0.05, "POSITION_POLL": 0.05, "MISSING_DRAFT": 60}
"""What one stores, the other sees soon."""
TOOLS = {"TOOLS": ["tools.builtin.calculator", "tests.system.citing_tools.look_up"]}
LOOK_UP: list[dict[str, Any]] = [
    {"tool": {"index": index, "id": f"call_{index}", "name": "look_up", "arguments": '{"q": "it"}'}}
    for index in range(2)
]
HOPS: list[Script] = [
    [{"text": "שלום "}, {"reasoning": "Hm. 🧠"}, {"text": "data: {}\n\n"}, *LOOK_UP],
    [{"reasoning": "So"}, {"halves": "👨‍👩‍👧‍👦 4²"}, {"text": "\u202e.\u202c\u2028\r\n"}],
]
ORDER = ["start", "token", "tool_call", "tool_call", "tool_result", "tool_result", "token", "turn_complete", "end"]
WANDERERS = 8


@pytest.fixture(scope="module")
def server(kind: Kind, site: Site) -> Iterator[ServerProcess]:
    """A server that looks at everybody's rights again very often."""
    with site.start(kind, chat={**TOOLS, "RECHECK": 0.1}) as process:
        yield process


@pytest.fixture
def asker(client: Client) -> Asker:
    """A new user with a key."""
    return with_key(client)


def gated() -> tuple[list[Script], list[tuple[str, str]]]:
    """The script with a gate before each step, and for each gate the text that is there once it is open."""
    script: list[Script] = []
    gates: list[tuple[str, str]] = []
    said = ""
    for hop, steps in enumerate(HOPS):
        script.append([])
        for at, step in enumerate(steps):
            said += step.get("text", "") + step.get("halves", "")
            gates.append((f"{hop}-{at}", said))
            script[-1] += [{"gate": f"{hop}-{at}"}, step]
    return script, gates


class Wanderer:
    """A client whose connection breaks again and again, anywhere, and who comes back to any server."""

    def __init__(self, askers: list[Asker], *, seed: int, begun: Reader) -> None:
        self.reader = deepcopy(begun)
        self.reader.eager = bool(seed % 2)
        self._askers = askers
        self._chance = random.Random(seed)

    async def hear(self, said: str) -> None:
        """Come back, hear all that was said, and be cut somewhere in what came."""
        before = deepcopy(self.reader)
        async with self._chance.choice(self._askers).ask(reader=self.reader) as stream:
            await stream.until(lambda reader: text(reader) == said)
        self.reader = before.reconnected().feed(stream.received[: self._chance.choice(cuts(stream.received))])

    async def end(self) -> None:
        """Come back and stay."""
        async with self._chance.choice(self._askers).ask(reader=self.reader) as stream:
            await stream.to_the_end()


def cuts(received: bytes) -> list[int]:
    """Every place but one in each message: where fetch-event-source has its id, and not yet its end."""
    return [at for at in range(len(received) + 1) if received[at - 1 : at + 1] != b"\n\n"]


def others(reader: Reader) -> list[Any]:
    """Everything but tokens."""
    return [frame for frame in frames(reader) if frame["event"] != "token"]


async def test_clients_cut_at_any_byte_end_on_any_server_with_what_is_stored(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    """R6: joined, what came is what is stored; each tool and each end came once."""
    site, key = new_site()
    script, gates = gated()
    provider.script(script)
    with site.start(kind, chat=TWO_SERVERS | TOOLS) as one, site.start(kind, chat=TWO_SERVERS | TOOLS) as two:
        clients = [Client(server.url, key=key) for server in (one, two)]
        askers = [with_key(client) for client in clients]
        async with askers[0].ask(key="whole") as whole:
            await whole.until(lambda reader: bool(reader.messages))
            wanderers = [Wanderer(askers, seed=seed, begun=whole.reader) for seed in range(WANDERERS)]
            for gate, said in gates:
                await asyncio.to_thread(provider.open_gate, gate)
                await asyncio.gather(*(wanderer.hear(said) for wanderer in wanderers))
            await asyncio.gather(*(wanderer.end() for wanderer in wanderers), whole.to_the_end())
        kept = await stored(clients[1], start(whole.reader)["conversation_id"])

    assert names(whole.reader) == ORDER
    for reader in (whole.reader, *(wanderer.reader for wanderer in wanderers)):
        assert text(reader) == kept == gates[-1][1]
        assert others(reader) == others(whole.reader)
    assert len(provider.log()) == len(HOPS)
    measured(f"{kind}: {WANDERERS * (len(gates) + 1):4} times a client of streaming_chat came back")


async def test_who_comes_back_in_a_silence_is_answered_before_the_next_word(
    kind: Kind, site: Site, key: str, provider: ProviderProcess
) -> None:
    provider.script([{"text": "One "}, {"gate": "go-on"}, {"text": "answer."}])
    with site.start(kind, chat={"HEARTBEAT": 3600}) as server:
        asker = with_key(Client(server.url, key=key))
        async with asker.ask() as cut:
            await cut.until(says("One "))
        async with asyncio.timeout(20), asker.ask(reader=cut.reader) as back:
            assert (back.status, text(cut.reader)) == (200, "One ")
            await asyncio.to_thread(provider.open_gate, "go-on")
            await back.to_the_end()

    assert text(back.reader) == "One answer."


async def test_a_finished_answer_goes_on_after_any_byte_of_it(asker: Asker, provider: ProviderProcess) -> None:
    provider.script([*HOPS])
    whole = await asker.answer()
    places = cuts(whole.received)[::29]

    async def come_back(at: int) -> Reader:
        return (await asker.answer(reader=Reader(eager=bool(at % 2)).feed(whole.received[:at]))).reader

    readers = [await come_back(at) for at in places if Reader().feed(whole.received[:at]).position]

    assert len(readers) > 30
    for reader in readers:
        assert text(reader) == text(whole.reader)
        assert others(reader) == others(whole.reader)
    assert len(provider.log()) == len(HOPS)


async def test_callers_with_one_key_join_one_turn_and_get_its_bytes_again_when_it_is_over(
    client: Client, asker: Asker, provider: ProviderProcess
) -> None:
    """R3."""
    provider.script([{"gate": "all-in"}, {"text": "One answer."}])

    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(asker.ask(key="the-one")) for _ in range(16)]
        await asyncio.gather(*(stream.until(lambda reader: bool(reader.messages)) for stream in streams))
        await asyncio.to_thread(provider.open_gate, "all-in")
        await asyncio.gather(*(stream.to_the_end() for stream in streams))
    replays = [await asker.answer(key="the-one") for _ in range(2)]
    refused = await asker.answer("Another question.", key="the-one")

    assert {stream.received for stream in streams} == {streams[0].received}
    assert text(streams[0].reader) == "One answer."
    assert "Idempotency-Replayed" not in streams[0].headers
    assert [replay.headers["Idempotency-Replayed"] for replay in replays] == ["true", "true"]
    assert replays[0].received == replays[1].received
    assert start(replays[0].reader).pop("cached") is True
    assert start(replays[0].reader) == {**start(streams[0].reader), "cached": True}
    assert replays[0].received.partition(b"\n")[2] == streams[0].received.partition(b"\n")[2]
    assert refused.status == 422
    assert len(provider.log()) == 1
    assert len(await client.events(start(streams[0].reader)["conversation_id"])) == 3


async def test_a_browser_that_asks_the_same_again_joins_and_one_with_a_key_does_not(
    site: Site, server: ServerProcess, asker: Asker, provider: ProviderProcess
) -> None:
    provider.script([{"gate": "speak"}, {"text": "One answer."}])
    browser = in_browser(site, server, user=f"user-{uuid4().hex[:8]}")
    both = Asker(server.url, headers=asker.headers)

    async with browser.ask() as first, browser.ask() as second, both.ask() as third, both.ask() as fourth:
        streams = (first, second, third, fourth)
        await asyncio.gather(*(stream.until(lambda reader: bool(reader.messages)) for stream in streams))
        await asyncio.to_thread(provider.open_gate, "speak")
        await asyncio.gather(*(stream.to_the_end() for stream in streams))
    later = await browser.answer()

    turns = [start(stream.reader)["request_id"] for stream in (*streams, later)]
    assert turns[0] == turns[1]
    assert len(set(turns)) == 4
    assert {text(stream.reader) for stream in (*streams, later)} == {"One answer."}
    assert len(provider.log()) == 4


async def test_an_answer_goes_on_when_nobody_reads_it(client: Client, asker: Asker, provider: ProviderProcess) -> None:
    """R11."""
    provider.script([{"text": "Once upon"}, {"gate": "gone"}, {"text": " a time."}])

    async with asker.ask(key="mine") as left:
        await left.until(says("Once upon"))
    await asyncio.to_thread(provider.open_gate, "gone")
    await provider.requests_async(1, ended=True)
    returned = await asker.answer(reader=left.reader)

    assert text(returned.reader) == "Once upon a time."
    assert names(returned.reader) == ["start", "token", "turn_complete", "end"]
    assert len(provider.log()) == 1


async def test_a_client_that_has_what_a_killed_server_did_not_store_is_told_to_ask_again(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R7."""
    provider.script([{"text": "Withdrawn"}, {"gate": "never"}])
    site, key = new_site()
    reader = Reader(eager=True)
    with site.start(kind, chat={"BATCH_INTERVAL": 60, "LEASE": 1.5, "LEASE_RENEWAL": 0.3}) as server:
        asker = with_key(Client(server.url, key=key))
        async with asker.ask(reader=reader) as stream:
            await stream.until(says("Withdrawn"))
            server.kill()
    provider.script([{"text": "The whole."}])
    with site.start(kind, port=server.port, chat={"LEASE": 1.5, "LEASE_RENEWAL": 0.3}):
        told = await asker.answer(reader=reader)
        position = reader.position
        retried = await asker.answer()

    assert names(told.reader) == ["start", "token", "error"]
    [error] = frames(told.reader, "error")
    assert (error["status_code"], error["cause"].partition(":")[0]) == (503, "answer_restarted")
    assert position == ""
    assert text(retried.reader) == "The whole."


async def test_a_revoked_key_ends_its_stream(site: Site, key: str, asker: Asker, provider: ProviderProcess) -> None:
    """S3."""
    provider.script([{"text": "Once upon"}, {"gate": "never"}])

    async with asker.ask() as stream:
        await stream.until(says("Once upon"))
        await asyncio.to_thread(site.manage, "shell", "-c", REVOKE.format(key.split("_")[1]))
        await stream.to_the_end()

    assert names(stream.reader) == ["start", "token", "error"]
    [error] = frames(stream.reader, "error")
    assert (error["status_code"], error["cause"].partition(":")[0]) == (401, "access_ended")
    assert (await asker.answer()).status == 401


async def test_what_is_foreign_or_unknown_is_refused_before_a_stream_begins(
    client: Client, asker: Asker, keys: Iterator[str], provider: ProviderProcess
) -> None:
    stranger = Asker(client.url, headers={"X-API-Key": next(keys)})
    conversation = await client.new_conversation()

    foreign = await stranger.answer(conversation_id=conversation)
    missing = await stranger.answer(conversation_id=str(uuid4()))
    unknown = await asker.answer(solr={})

    assert (foreign.status, foreign.received) == (404, missing.received)
    assert (unknown.status, b'{"solr":"Unknown field."' in unknown.received) == (400, True)
    assert provider.log() == []
