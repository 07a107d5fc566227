"""A provider that says nothing for a long time: viewers hear heartbeats, and may leave and come back."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from openai import AsyncOpenAI

from streaming.frames import Delta, Event, Heartbeat
from tests.client import Client
from tests.fold import Folded
from tests.provider import ProviderProcess
from tests.server import KINDS, Kind, NewSite, ServerProcess
from tests.system.cluster import LONG, scaled
from tests.system.held import kinds
from tests.system.viewers import Viewer, assert_lawful, fresh_read

BEAT, SILENCE, IMPATIENT = scaled(15, 7), scaled(40, 18), scaled(20, 9)
SILENT = {
    "before-headers": [{"silence": SILENCE}, {"text": "At last."}],
    "after-headers": [{"open": True}, {"silence": SILENCE}, {"text": "At last."}],
}
"""So long that a tab that closes at the first heartbeat is away for longer than daphne waits before it kills: 10 s."""
CHAT = {} if LONG else {"HEARTBEAT": BEAT}
COMPLETED = ["user_message", "assistant_message", "turn_ended"]


def is_over(folded: Folded) -> bool:
    return "turn_ended" in kinds(folded)


async def asks(client: Client, text: str) -> Viewer:
    """Someone who has sent a message and seen it stored."""
    viewer = await Viewer(await client.new_conversation()).go_on(client)
    await viewer.send(text)
    return await viewer.until(lambda folded: bool(folded.events))


async def heartbeats(viewer: Viewer, *, upto: int) -> list[datetime]:
    """When the server sent the heartbeats that come before anything is said, but at most so many."""
    times: list[datetime] = []
    while len(times) < upto:
        match await viewer.hear():
            case Heartbeat(at=at):
                times.append(datetime.fromisoformat(at))
            case Delta() | Event():
                break
    return times


async def stays(client: Client, text: str) -> None:
    """Hear two heartbeats by the clock, then the answer."""
    viewer = await asks(client, text)

    times = await heartbeats(viewer, upto=5)
    await viewer.until(is_over)
    await viewer.cut()

    assert len(times) == 2
    assert BEAT - 1 < (times[1] - times[0]).total_seconds() < BEAT + 3
    await assert_answered_once(client, viewer)


async def leaves(client: Client, text: str, *, goodbye: bool, answered: asyncio.Event) -> None:
    """Close the tab in the silence, so that nobody is there, and open it again once the provider has answered."""
    viewer = await asks(client, text)
    heard = await heartbeats(viewer, upto=1)
    await viewer.cut(goodbye=goodbye)

    await answered.wait()
    await viewer.go_on(client)
    await viewer.until(is_over)
    await viewer.cut()

    assert heard
    await assert_answered_once(client, viewer)


async def waits_as_openai(client: Client, text: str) -> None:
    """OpenAI's own client, which takes silence that lasts half as long for the end of the connection."""
    async with AsyncOpenAI(base_url=f"{client.url}/v1", api_key=client.key, max_retries=0, timeout=IMPATIENT) as sdk:
        asked: Any = [{"role": "user", "content": text}]
        stream = await sdk.chat.completions.create(model="openai", messages=asked, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert "".join(said) == "At last."


async def assert_answered_once(client: Client, viewer: Viewer) -> None:
    fresh = await fresh_read(client, viewer.conversation)
    assert_lawful(viewer, fresh)
    assert kinds(fresh) == COMPLETED
    assert fresh.events[3]["data"]["status"] == "completed"


async def sit_through(servers: dict[Kind, ServerProcess], *, keys: dict[Kind, str], provider: ProviderProcess) -> None:
    """On all servers at once: a viewer stays, one closes the tab, one vanishes; and a client of OpenAI's waits."""
    answered = asyncio.Event()
    clients = [Client(server.url, key=keys[kind]) for kind, server in servers.items()]
    expected = 4 * len(clients) * len(SILENT)

    async def wait_for_the_answers() -> None:
        await provider.requests_async(expected)
        await provider.requests_async(expected, ended=True, timeout=60)
        answered.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(wait_for_the_answers())
        for client in clients:
            for marker in SILENT:
                group.create_task(stays(client, f"[[{marker}]]"))
                group.create_task(waits_as_openai(client, f"[[{marker}]]"))
                group.create_task(leaves(client, f"[[{marker}]]", goodbye=True, answered=answered))
                group.create_task(leaves(client, f"[[{marker}]]", goodbye=False, answered=answered))
    assert len(provider.log()) == expected


def test_in_a_long_silence_two_heartbeats_come_and_viewers_may_leave_and_return(
    new_site: NewSite, provider: ProviderProcess
) -> None:
    provider.script(named=SILENT)
    with ExitStack() as stack:
        sites = {kind: new_site() for kind in KINDS}
        servers = {kind: stack.enter_context(site.start(kind, chat=CHAT)) for kind, (site, _) in sites.items()}

        asyncio.run(sit_through(servers, keys={kind: key for kind, (_, key) in sites.items()}, provider=provider))

    for server in servers.values():
        assert not [line for line in server.lines if "took too long" in line or "Traceback" in line]


async def test_heartbeats_come_by_the_clock_whether_or_not_anything_is_said(
    kind: Kind, new_site: NewSite, provider: ProviderProcess
) -> None:
    provider.script([{"gate": "speak"}, {"text": "At last."}])
    site, key = new_site()
    with site.start(kind, chat={"HEARTBEAT": 0.2}) as server:
        client = Client(server.url, key=key)
        viewer = await asks(client, "Well?")
        before = await heartbeats(viewer, upto=3)
        await asyncio.to_thread(provider.open_gate, "speak")
        await viewer.until(is_over)
        after = await heartbeats(viewer, upto=3)
        await viewer.cut()

        assert (len(before), len(after)) == (3, 3)
        await assert_answered_once(client, viewer)
