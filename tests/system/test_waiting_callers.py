"""Programs that wait for a whole answer while the server dies, ends, or takes longer than they may wait; and those who
leave."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from tests.provider import ProviderProcess, Script
from tests.server import Kind, NewSite, ServerProcess
from tests.system.callers import CHAT, COUNTING, STREAMING_CHAT, Caller, Told

HELD: Script = [{"text": "One "}, {"gate": "more"}, {"text": "answer."}]
NAMED: dict[str, Script] = {"held": HELD, "quick": [{"text": "Here."}]}
RESTLESS = {"LEASE": 1.0, "LEASE_RENEWAL": 0.2}
FRAIL = {**RESTLESS, "MAX_LOSSES": 1}
"""A turn that is lost with its process is not asked again."""
COMPLAINTS = ("Traceback", "took too long", "never awaited", "unclosed", "Unclosed", "was destroyed", "Warning")


@pytest.fixture(autouse=True)
def scripts(provider: ProviderProcess) -> None:
    provider.script(named=NAMED)


async def all_in(caller: Caller, provider: ProviderProcess, *, waiting: int, asked: int) -> None:
    """Until so many wait at the server, and the provider was asked so often."""
    await caller.counted(viewers=waiting)
    await provider.requests_async(asked)


def complaints(server: ServerProcess) -> list[str]:
    return [line for line in server.lines if any(word in line for word in COMPLAINTS)]


async def test_who_waited_when_the_server_was_killed_gets_the_stored_end_with_the_same_key(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R3, R10."""
    site, key = new_site()
    with site.start(kind, chat=FRAIL, application=COUNTING) as server:
        caller = Caller(server.url, key=key)
        finished = await caller.ask(CHAT, "[[quick]]", key="finished")
        waiting = [asyncio.create_task(caller.ask(CHAT, "[[held]]", key="waiting")) for _ in range(5)]
        await all_in(caller, provider, waiting=5, asked=2)
        await asyncio.to_thread(server.kill)
        lost = await asyncio.gather(*waiting, return_exceptions=True)

    with site.start(kind, chat=FRAIL, port=server.port) as restarted:
        caller = Caller(restarted.url, key=key)
        ends = await asyncio.gather(*(caller.ask(CHAT, "[[held]]", key="waiting") for _ in range(5)))
        late = await caller.ask(CHAT, "[[held]]", key="waiting")
        by_turn = await caller.get(f"/api/v1/turns/{late.json['turn']}/response/")
        replayed = await caller.ask(CHAT, "[[quick]]", key="finished")

    assert all(isinstance(error, aiohttp.ClientError) for error in lost)
    for end in (*ends, late, by_turn):
        assert (end.status, end.json["code"]) == (503, "interrupted")
        assert end.body == late.body
        assert end.headers["Content-Type"] == "application/problem+json"
    assert late.headers["X-Verbatim-Turn"] == late.json["turn"]
    assert (replayed.status, replayed.body, replayed.headers["Idempotency-Replayed"]) == (200, finished.body, "true")
    assert len(provider.log()) == 2


async def test_who_waited_when_the_server_was_killed_gets_what_the_next_process_makes_of_it(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R3, R10: one more model call, however many ask for it again."""
    site, key = new_site()
    with site.start(kind, chat=RESTLESS, application=COUNTING) as server:
        caller = Caller(server.url, key=key)
        waiting = [asyncio.create_task(caller.ask(CHAT, "[[held]]", key="waiting")) for _ in range(5)]
        await all_in(caller, provider, waiting=5, asked=1)
        await asyncio.to_thread(server.kill)
        await asyncio.gather(*waiting, return_exceptions=True)

    await asyncio.to_thread(provider.open_gate, "more")
    with site.start(kind, chat=RESTLESS, port=server.port) as restarted:
        caller = Caller(restarted.url, key=key)
        answers = await asyncio.gather(*(caller.ask(CHAT, "[[held]]", key="waiting") for _ in range(5)))

    assert {(answer.status, answer.json["response"]) for answer in answers} == {(200, "One answer.")}
    assert len({answer.body for answer in answers}) == 1
    assert len(provider.log()) == 2


async def test_who_may_not_wait_longer_comes_back_for_the_answer(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    site, key = new_site()
    with site.start(kind, chat={"ANSWER_TIMEOUT": 0.2}) as server:
        caller = Caller(server.url, key=key)
        early = await caller.ask(CHAT, "[[held]]", key="k")
        address = f"/api/v1/turns/{early.json['turn']}/response/"
        by_turn = await caller.get(address)
        await asyncio.to_thread(provider.open_gate, "more")
        late = await until_there(caller, address)
        again = await caller.ask(CHAT, "[[held]]", key="k")

    for told in (early, by_turn):
        assert (told.status, told.json["code"], told.headers["Retry-After"]) == (504, "still_running", "5")
        assert told.json["turn"] == early.headers["X-Verbatim-Turn"]
    assert (late.json["response"], late.json["turn"]) == ("One answer.", early.json["turn"])
    assert (again.status, again.body) == (200, late.body)
    assert len(provider.log()) == 1


async def until_there(caller: Caller, address: str) -> Told:
    """Come back until the answer is there, as one is told to, only sooner."""
    async with asyncio.timeout(30):
        while (told := await caller.get(address)).status == 504:
            pass
    return told


async def test_who_waits_when_the_server_is_told_to_end_gets_the_answer(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R20."""
    site, key = new_site()
    with site.start(kind, application=COUNTING) as server:
        caller = Caller(server.url, key=key)
        waiting = [asyncio.create_task(caller.ask(CHAT, "[[held]]", key="k")) for _ in range(5)]
        await all_in(caller, provider, waiting=5, asked=1)
        server.terminate()
        await asyncio.to_thread(provider.open_gate, "more")
        answers = await asyncio.gather(*waiting)
        await asyncio.to_thread(server.wait)

    assert {(answer.status, answer.json["response"]) for answer in answers} == {(200, "One answer.")}
    assert complaints(server) == []


async def test_who_waits_longer_than_an_ending_server_may_is_told_so(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    site, key = new_site()
    with site.start(kind, chat={"DRAIN": 0.2}, application=COUNTING) as server:
        caller = Caller(server.url, key=key)
        conversation = await caller.create()
        waiting = asyncio.create_task(caller.ask(CHAT, "[[held]]", key="k", conversation_id=conversation))
        reading = asyncio.create_task(caller.get(f"/api/v1/conversations/{conversation}/stream/"))
        await all_in(caller, provider, waiting=2, asked=1)
        server.terminate()
        answer, stream = await waiting, await reading
        await asyncio.to_thread(server.wait)

    assert (answer.status, answer.json["code"]) == (503, "draining")
    assert (stream.frames[-1]["type"], stream.frames[-1]["code"]) == ("error", "draining")
    assert complaints(server) == []


async def test_who_leaves_leaves_nothing_behind_and_the_answer_is_there_for_who_comes_back(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R11, A4.1."""
    site, key = new_site()
    site.env |= {"PYTHONWARNINGS": "always", "PYTHONTRACEMALLOC": "1"}
    with site.start(kind, application=COUNTING) as server:
        caller = Caller(server.url, key=key)
        conversation = await caller.create()
        first = asyncio.create_task(caller.ask(CHAT, "[[held]]", key="k", conversation_id=conversation))
        await all_in(caller, provider, waiting=1, asked=1)
        before = await caller.counted(viewers=1)
        (turn,) = (await caller.get(f"/api/v1/conversations/{conversation}/turns/")).json["results"]
        addresses = [
            f"/api/v1/conversations/{conversation}/stream/",
            f"/api/v1/turns/{turn['id']}/stream/",
            f"/api/v1/turns/{turn['id']}/response/",
        ]
        visits = [
            *(caller.get(address) for address in addresses for _ in range(5)),
            *(caller.ask(path, "[[held]]", key="k") for path in (CHAT, STREAMING_CHAT) for _ in range(5)),
        ]
        visitors = [asyncio.create_task(visit) for visit in visits]
        await caller.counted(viewers=1 + len(visitors))

        for visitor in visitors:
            visitor.cancel()
        await asyncio.wait(visitors)
        after = await caller.counted(viewers=1, tasks=before["tasks"])
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        await caller.counted(viewers=0)
        await asyncio.to_thread(provider.open_gate, "more")
        late = await caller.ask(CHAT, "[[held]]", key="k")
        await caller.counted(viewers=0, tails=0)
        server.terminate()
        await asyncio.to_thread(server.wait)

    assert all(visitor.cancelled() for visitor in visitors)
    assert after == before
    assert (late.status, late.json["response"]) == (200, "One answer.")
    assert len(provider.log()) == 1
    assert complaints(server) == []
