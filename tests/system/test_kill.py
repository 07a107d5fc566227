"""`kill -9` at any instant: hardly any text is lost, every turn gets its end, and on it goes."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import NamedTuple

import pytest

from tests.client import Client, caught_up, ended, says
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, Kind, NewSite, Site
from tests.system.cluster import scaled

pytestmark = pytest.mark.alone
SPEECH: Script = [{"words": 3000, "rate": 100, "stamped": True}]
SITES = {"SQLite": scaled(6, 4), "PostgreSQL": scaled(4, 2)}
WELL = "All well."
ASKED_ONCE = ["user_message", "assistant_message", "turn_ended"]
ASKED_TWICE = ["user_message", "turn_restarted", "assistant_message", "turn_ended"]
LOSS = 0.250
RECOVERY = 15.0
STARTING = asyncio.Semaphore(2)
"""Servers that start at a time, on a small machine. None does while another speaks: it would make its timers late."""


@dataclass
class Talk:
    """One server, one conversation in it, and what its viewer has got."""

    database: str
    site: Site
    key: str
    kind: Kind
    alive: ExitStack
    port: int = 0
    conversation: str = ""
    seen: Folded = field(default_factory=Folded)

    async def start(self) -> Client:
        """A server at the same port as before, if there was one."""
        async with STARTING:
            self.server = self.alive.enter_context(await asyncio.to_thread(self.site.start, self.kind, port=self.port))
        self.port = self.server.port
        self.client = Client(self.server.url, key=self.key)
        return self.client

    async def die(self, instant: float) -> None:
        """The server is killed `instant` seconds after the first word."""
        self.conversation = await self.client.new_conversation()
        async with self.client.socket(self.conversation, folded=self.seen) as viewer:
            await viewer.send("Tell me.")
            await viewer.until(says("w0001"))
            with suppress(TimeoutError):
                await viewer.until(ended(), seconds=instant)
            await asyncio.to_thread(self.server.kill)
            await viewer.until_closed()

    async def recover(self) -> Death:
        """Another server is there: how the turn goes on."""
        client = await self.start()
        restarted = time.monotonic()
        stored = await read(client, self.conversation)
        first, last, kept = first_stamp(self.seen.draft), last_stamp(self.seen.draft), last_stamp(stored.draft)
        recovered = await self.go_on(stored, within=restarted + RECOVERY - time.monotonic())
        return Death(
            self.kind,
            self.database,
            spoken=last - first,
            lost=max(0.0, last - (kept or first)),
            recovered=recovered - restarted,
        )

    async def go_on(self, stored: Folded, *, within: float) -> float:
        """The viewer comes back: it is shown what is stored, then the turn in its next attempt. When that ended."""
        assert self.seen.draft.startswith(stored.draft) or stored.draft.startswith(self.seen.draft)
        saw_more = self.seen.length > stored.length

        async with self.client.socket(self.conversation, folded=self.seen) as viewer:
            await viewer.until(ended(), seconds=within)
            recovered = time.monotonic()
            assert viewer.folded.resets == saw_more
            await viewer.send("And now?")
            await viewer.until(ended(2))

        fresh = await read(self.client, self.conversation)
        assert (viewer.folded.events, viewer.folded.cursor) == (fresh.events, fresh.cursor)
        assert [event["kind"] for event in fresh.events.values()] == [*ASKED_TWICE, *ASKED_ONCE]
        events = [event["data"] for event in fresh.events.values()]
        assert [event["text"] for event in events if "text" in event] == ["Tell me.", WELL, "And now?", WELL]
        assert [event["status"] for event in events if "status" in event] == ["completed", "completed"]
        return recovered


class Death(NamedTuple):
    """How one `kill -9` went; in seconds: after how much talk, how much of it was lost, how soon all was well."""

    kind: Kind
    database: str
    spoken: float
    lost: float
    recovered: float

    def __str__(self) -> str:
        return (
            f"{self.kind:7} on {self.database:10} killed {self.spoken:.2f} s into the answer: "
            f"{self.lost * 1000:3.0f} ms of text lost, answered {self.recovered:4.1f} s after the restart"
        )


async def test_kill_9_loses_at_most_250_ms_of_text_and_within_15_s_the_talk_goes_on(
    provider: ProviderProcess, new_site: NewSite, new_postgres_site: NewSite, capsys: pytest.CaptureFixture[str]
) -> None:
    """R8, R10. At random instants; `SEED` in the environment repeats them. One is killed after the other, while no
    server starts; all start, and come back, together."""
    make = {"SQLite": new_site, "PostgreSQL": new_postgres_site}
    sites = [(database, *make[database]()) for database, kills in SITES.items() for _ in range(kills)]
    provider.script([{"text": WELL}], queue=[SPEECH] * len(sites))
    seed = int(os.environ.get("SEED", time.time_ns() % 100_000))
    instants = random.Random(seed)

    with ExitStack() as alive:
        talks = [Talk(*place, kind=kind, alive=alive) for place, kind in zip(sites, cycle(KINDS), strict=False)]
        await asyncio.gather(*(talk.start() for talk in talks))
        for talk in talks:
            await talk.die(instants.uniform(0, 1.5))
        deaths = await asyncio.gather(*(talk.recover() for talk in talks))

    worst = max(death.lost for death in deaths)
    with capsys.disabled():
        print(f"\n{len(deaths)} kills, SEED={seed}", *deaths, sep="\n  ")
        print(f"  worst: {worst * 1000:.0f} ms lost")
    assert worst <= LOSS
    asked = [entry["body"]["messages"][-1]["content"] for entry in provider.log()]
    assert sorted(asked) == ["And now?"] * len(sites) + ["Tell me."] * 2 * len(sites), "once again each, and no more"
    assert not any("refused" in entry for entry in provider.log())


async def read(client: Client, conversation: str) -> Folded:
    """What the page shows to who opens it now."""
    async with client.socket(conversation) as page:
        await page.until(caught_up)
    return page.folded


def first_stamp(text: str) -> float:
    """When the first word of the speech was said, in seconds since the epoch; 0 if none was."""
    return next(stamps(text), 0.0)


def last_stamp(text: str) -> float:
    """When the last word of the speech was said."""
    return max(stamps(text), default=0.0)


def stamps(text: str) -> Iterator[float]:
    return (int(stamp) / 1e6 for stamp in re.findall(r"@(\d{16}) ", text))
