"""R22: the disk is full for a while. Who orders is told so, who reads reads, and it goes on without a restart."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import psutil
import psycopg
import pytest

from streaming.frames import Error
from tests.client import Client, caught_up, ended, says
from tests.provider import ProviderProcess
from tests.server import Kind, NewSite, ServerProcess, Site

Full: TypeAlias = Callable[[Site, ServerProcess], AbstractContextManager[None]]

REFUSE_ROWS = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON verbatim_history_event EXECUTE FUNCTION no_room();
CREATE TRIGGER no_room BEFORE INSERT ON verbatim_history_deltabatch EXECUTE FUNCTION no_room();
CREATE TRIGGER no_room BEFORE INSERT ON verbatim_history_turn EXECUTE FUNCTION no_room();
"""
TAKE_ROWS = "DROP FUNCTION no_room() CASCADE"


@contextmanager
def files_cannot_grow(site: Site, server: ServerProcess) -> Iterator[None]:
    """SQLite's: the kernel lets this process write no file beyond what its log has now."""
    log = Path(site.env["DATABASE_URL"].removeprefix("sqlite:///") + "-wal")
    process = psutil.Process(server.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert before[0] == resource.RLIM_INFINITY


@contextmanager
def no_room(site: Site, server: ServerProcess) -> Iterator[None]:
    """PostgreSQL's: its error, with its code, for every new row."""
    with psycopg.connect(site.env["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(REFUSE_ROWS.encode())
        try:
            yield
        finally:
            connection.execute(TAKE_ROWS)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, new_site: NewSite, new_postgres_site: NewSite) -> tuple[Site, str, Full]:
    """A site, the key of its user, and how its disk becomes full."""
    if request.param == "SQLite":
        return (*new_site(), files_cannot_grow)
    return (*new_postgres_site(), no_room)


async def test_a_full_disk_refuses_orders_and_loses_nothing_of_what_is_being_said(
    kind: Kind, place: tuple[Site, str, Full], provider: ProviderProcess
) -> None:
    site, key, full = place
    provider.script([{"text": "All well."}], named={"held": [{"text": "Once "}, {"gate": "on"}, {"text": "upon."}]})
    with site.start(kind) as server:
        client = Client(server.url, key=key)
        talking, other = await client.new_conversation(), await client.new_conversation()
        async with client.socket(talking) as viewer, client.socket(other) as second:
            await viewer.send("[[held]]")
            await viewer.until(says("Once "))
            with full(site, server):
                await second.send("Is there room?")
                refused = await second.answer()
                await asyncio.to_thread(provider.open_gate, "on")
                await viewer.until(says("upon."))
                stored = await client.events(talking)
            await viewer.until(ended())
            await second.send("And now?")
            await second.until(ended())
        async with client.socket(talking) as fresh:
            await fresh.until(caught_up)

    assert isinstance(refused, Error)
    assert (refused.code, "try again" in refused.message) == ("busy", True)
    assert [event["kind"] for event in stored] == ["user_message"]
    assert fresh.folded.events == viewer.folded.events
    assert fresh.folded.events[2]["data"]["text"] == "Once upon."
    said = [event["data"].get("text") for event in second.folded.events.values()]
    assert said[:2] == ["And now?", "All well."], "what was refused has left nothing behind"
    assert len(provider.log()) == 2
