"""`kill -9` at any instant: hardly any text is lost, every turn gets its end, and on it goes."""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import cycle
from typing import NamedTuple

import pytest

from tests.client import Client, caught_up, ended, says
from tests.fold import Folded
from tests.provider import ProviderProcess, Script
from tests.server import KINDS, Kind, NewSite, Site

SPEECH: Script = [{"words": 3000, "rate": 100, "stamped": True}]
LOSS = 0.250
RECOVERY = 15.0
LOUD = 2
"""Servers that start or speak at a time: more would make each other's timers late on a small machine."""


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
            f"{self.lost * 1000:3.0f} ms of text lost, ended {self.recovered:4.1f} s after the restart"
        )


async def test_kill_9_loses_at_most_250_ms_of_text_and_within_15_s_the_talk_goes_on(
    provider: ProviderProcess, new_site: NewSite, new_postgres_site: NewSite, capsys: pytest.CaptureFixture[str]
) -> None:
    """R8, R10. At random instants; `SEED` in the environment repeats them."""
    provider.script([{"text": "All well."}], named={"speech": SPEECH})
    seed = int(os.environ.get("SEED", time.time_ns() % 100_000))
    instants = random.Random(seed)
    loud = asyncio.Semaphore(LOUD)
    sites = [*(("SQLite", new_site) for _ in range(20)), *(("PostgreSQL", new_postgres_site) for _ in range(4))]

    deaths = await asyncio.gather(
        *(
            die_and_recover(*make(), kind=kind, database=database, instant=instants.uniform(0, 1.5), loud=loud)
            for kind, (database, make) in zip(cycle(KINDS), sites, strict=False)
        )
    )

    worst = max(death.lost for death in deaths)
    with capsys.disabled():
        print(f"\n{len(deaths)} kills, SEED={seed}", *deaths, sep="\n  ")
        print(f"  worst: {worst * 1000:.0f} ms lost")
    assert worst <= LOSS
    asked = [entry["body"]["messages"][-1]["content"] for entry in provider.log()]
    assert sorted(asked) == ["And now?"] * 24 + ["[[speech]]"] * 24, "nobody is asked twice"
    assert not any("refused" in entry for entry in provider.log())


async def die_and_recover(
    site: Site, key: str, *, kind: Kind, database: str, instant: float, loud: asyncio.Semaphore
) -> Death:
    with ExitStack() as alive:
        async with loud:
            port, conversation, seen = await die(site, kind, key=key, instant=instant)
            server = alive.enter_context(await asyncio.to_thread(site.start, kind, port=port))
            restarted = time.monotonic()
            client = Client(server.url, key=key)
            stored = await read(client, conversation)
        first, last, kept = first_stamp(seen.draft), last_stamp(seen.draft), last_stamp(stored.draft)
        left = restarted + RECOVERY - time.monotonic()
        recovered = await recover(client, conversation, seen=seen, stored=stored, within=left)
        return Death(
            kind,
            database,
            spoken=last - first,
            lost=max(0.0, last - (kept or first)),
            recovered=recovered - restarted,
        )


async def die(site: Site, kind: Kind, *, key: str, instant: float) -> tuple[int, str, Folded]:
    """A server is killed `instant` seconds after the first word: where it was, and what its viewer had got by then."""
    with await asyncio.to_thread(site.start, kind) as server:
        client = Client(server.url, key=key)
        conversation = await client.new_conversation()
        async with client.socket(conversation) as viewer:
            await viewer.send("[[speech]]")
            await viewer.until(says("w0001"))
            with suppress(TimeoutError):
                await viewer.until(ended(), seconds=instant)
            await asyncio.to_thread(server.kill)
            await viewer.until_closed()
    return server.port, conversation, viewer.folded


async def recover(client: Client, conversation: str, *, seen: Folded, stored: Folded, within: float) -> float:
    """The viewer comes back: it is shown what is stored, as an ended turn, and may go on. When the turn was ended."""
    saw_more = seen.length > stored.length
    assert seen.draft.startswith(stored.draft) or stored.draft.startswith(seen.draft)

    async with client.socket(conversation, folded=seen) as viewer:
        await viewer.until(ended(), seconds=within)
        recovered = time.monotonic()
        assert viewer.folded.resets == saw_more
        await viewer.send("And now?")
        await viewer.until(ended(2))

    fresh = await read(client, conversation)
    assert (viewer.folded.events, viewer.folded.cursor) == (fresh.events, fresh.cursor)
    _, *broken, question, answer, end = [event["data"] for event in fresh.events.values()]
    assert [message["text"] for message in broken[:-1]] == ([stored.draft] if stored.draft else [])
    assert (broken[-1]["status"], broken[-1]["error"]["code"]) == ("failed", "interrupted")
    assert (question["text"], answer["text"], end["status"]) == ("And now?", "All well.", "completed")
    return recovered


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
