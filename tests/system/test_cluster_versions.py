"""During a deploy two versions run on one database: this one, and the one before the newest migration."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.client import Client, caught_up, ended, says
from tests.provider import ProviderProcess, Script
from tests.server import NewSite, ServerProcess, Site
from tests.system.cluster import LONG
from tests.system.held import kinds
from tests.system.versions import previous_version, unpack
from tests.system.viewers import fresh_read

CHAT = {"LEASE": 2.0, "LEASE_RENEWAL": 0.5, "POSITION_POLL": 0.5}
CALL = {"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}}
SCRIPTS: dict[str, Script] = {
    "brief": [[{"text": "Let me see."}, CALL], [{"text": "It is 42."}]],
    "new-dies": [{"text": "Once upon"}, {"gate": "new-dies"}, {"text": " a time."}],
    "old-dies": [{"text": "Once upon"}, {"gate": "old-dies"}, {"text": " a time."}],
    "endless": [{"text": "On and on"}, {"words": 100_000, "rate": 20}],
}
BRIEF = ["user_message", "assistant_message", "tool_result", "assistant_message", "turn_ended"]


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version before this one."""
    commit = previous_version()
    assert commit is not None
    unpack(commit, folder := tmp_path_factory.mktemp("old"))
    return folder


def started(site: Site, *, code: Path | None = None) -> ServerProcess:
    """A server of this version, or of the one whose code that is."""
    if code is None:
        return site.start("uvicorn", chat=CHAT)
    env = {**site.env, "DJANGO_SETTINGS_MODULE": "bench.settings", "CHAT_OVERRIDES": json.dumps(CHAT)}
    return ServerProcess("daphne", env=env, folder=code)


@pytest.mark.parametrize("database", ["new_postgres_site", *(["new_site"] if LONG else [])])
async def test_the_version_before_works_beside_this_one(
    database: str, request: pytest.FixtureRequest, old_code: Path, provider: ProviderProcess
) -> None:
    """At a database that this one has migrated: each shows and stops what runs at the other, and when either is killed,
    the turns that it had come to one end, and whoever asks next is answered."""
    provider.script(named=SCRIPTS)
    new_site: NewSite = request.getfixturevalue(database)
    site, key = new_site()
    with started(site, code=old_code) as old, started(site) as new:
        sides = {server: Client(server.url, key=key) for server in (old, new)}
        for here, there in ((old, new), (new, old)):
            await is_seen(sides[here], sides[there])
            await is_stopped(sides[here], sides[there])
        conversation = await is_survived("new-dies", new, sides[new], sides[old], provider=provider)
        with started(site) as again:
            await goes_on(Client(again.url, key=key), conversation)
            lost = await is_survived("old-dies", old, sides[old], Client(again.url, key=key), provider=provider)
            await goes_on(Client(again.url, key=key), lost)

        lines = [line for server in (old, new, again) for line in server.lines]
    assert not [line for line in lines if "Traceback" in line]


async def is_seen(here: Client, there: Client) -> None:
    """A turn with a tool that runs here, there."""
    conversation = await here.new_conversation()
    async with here.socket(conversation) as asker, there.socket(conversation) as viewer:
        await viewer.until(caught_up)
        await asker.send("[[brief]]")
        await asyncio.gather(asker.until(ended()), viewer.until(ended()))
    assert kinds(viewer.folded) == BRIEF
    assert viewer.folded.events == asker.folded.events


async def is_stopped(here: Client, there: Client) -> None:
    """A turn that runs here, by a stop that comes there."""
    conversation = await here.new_conversation()
    async with here.socket(conversation) as asker:
        await asker.send("[[endless]]")
        await asker.until(says("On and on"))
        await there.call("POST", f"/api/v1/turns/{asker.folded.events[1]['turn']}/stop/")
        await asker.until(ended())
    fresh = await fresh_read(there, conversation)
    assert asker.folded.events == fresh.events
    assert fresh.events[len(fresh.events)]["data"]["status"] == "cancelled"


async def is_survived(name: str, dies: ServerProcess, here: Client, there: Client, *, provider: ProviderProcess) -> str:
    """A turn of a process that is killed has one end, and keeps what was said; its conversation."""
    conversation = await here.new_conversation()
    async with here.socket(conversation) as asker, there.socket(conversation) as viewer:
        await asker.send(f"[[{name}]]")
        await asyncio.gather(asker.until(says("Once upon")), viewer.until(says("Once upon")))
        await asyncio.to_thread(dies.kill)
        await asyncio.to_thread(provider.open_gate, name)
        with suppress(ConnectionClosed):
            await asker.until(lambda _: False)
        await viewer.until(ended())
    fresh = await fresh_read(there, conversation)
    assert viewer.folded.events == fresh.events
    said = [event["data"]["text"] for event in fresh.events.values() if event["kind"] == "assistant_message"]
    assert said[0].startswith("Once upon")
    assert kinds(fresh).count("turn_ended") == 1
    return conversation


async def goes_on(client: Client, conversation: str) -> None:
    """The next question there is answered."""
    async with client.socket(conversation) as socket:
        await socket.send("[[brief]]")
        await socket.until(ended(2))
    assert socket.folded.events[len(socket.folded.events)]["data"]["status"] == "completed"
