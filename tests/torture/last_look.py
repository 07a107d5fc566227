"""What is written down when all is quiet: the database, what new viewers see at each process, and what the provider and
the tools have noted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake

from tests.torture.cluster import CHAT, Member
from tests.torture.notes import PULSE, Note
from tests.torture.records import Called, Fault, Frame, FreshRead, Kept, Logged, ToolRan
from tests.torture.scripts import said
from tests.torture.tools import IDEMPOTENT
from tests.torture.viewers import GONE
from tests.torture.world import World

READING = 20.0
LONG: float = CHAT["LEASE"] / 4
AT_A_TIME = 12
CALL_ID = re.compile(r"[^:]+:\d+:(\d+)(?::(\d+))?")
LINE, ERROR = re.compile(r"\d{4}-\d\d-\d\d \S+ [A-Z]+ |INFO: "), re.compile(r"\S+ \S+ (ERROR|CRITICAL) ")
EXCEPTION = re.compile(r"[\w.]+(: |$)")
TAG = re.compile(r"\[\[[\w-]+\]\] (\S+)")


async def write_down(world: World) -> None:
    """All of it."""
    for record in await world.rows.everything():
        world.note(record)
    limit = asyncio.Semaphore(AT_A_TIME)
    conversations = [talk.conversation for talk in world.talks if talk.conversation]
    await asyncio.gather(
        *(_fresh_read(world, each, member, limit) for each in conversations for member in world.cluster.members)
    )
    for talk in world.talks:
        talk.client_tells()
    for entry in await asyncio.to_thread(world.cluster.provider.log):
        world.note(_called(entry))
    world.cluster.notes.fresh()
    lives = {
        pid: f"{member.name}.{life}" for member in world.cluster.members for life, pid in enumerate(member.pids, 1)
    }
    for note in world.cluster.notes.all:
        if note["what"] in ("tool begins", "tool ends"):
            world.note(_ran(note, process=lives[note["pid"]]), at=note["at"])
        elif note["what"] == "released":
            turn, attempt, text = note["turn"], note["attempt"], note["text"]
            kept = Kept(turn=turn, attempt=attempt, fault="sigterm", killed=note["at"], text=text)
            world.note(kept, at=note["at"])
    for member in world.cluster.members:
        for error in _errors(member):
            world.note(error)
    for pause in _pauses(world.cluster.notes.all, lives=lives):
        world.note(pause)


def _errors(member: Member) -> Iterator[Logged]:
    """The lines of its log that tell of errors, and how the tracebacks below them end."""
    error: Logged | None = None
    for line in member.everything:
        if LINE.match(line):
            if error is not None:
                yield error
            error = Logged(process=member.name, line=line.rstrip()) if ERROR.match(line) else None
        elif error is not None and EXCEPTION.match(line):
            error = replace(error, cause=line.rstrip())
    if error is not None:
        yield error


def _pauses(notes: Iterable[Note], *, lives: Mapping[int, str]) -> Iterator[Fault]:
    """When a process got nothing of the machine for so long that it may have lost its leases: a pause like one that
    the nemesis makes, but that nobody ordered."""
    last: dict[int, float] = {}
    for note in notes:
        if note["what"] == "alive":
            ended: float = note["at"]
            began = last.get(note["pid"], ended)
            last[note["pid"]] = ended
            if ended - began > PULSE + LONG:
                yield Fault(kind="sigstop", target=lives[note["pid"]], began=began, ended=ended)


async def _fresh_read(world: World, conversation: str, member: Member, limit: asyncio.Semaphore) -> None:
    """What somebody sees who comes now, up to `caught_up`; as far as it came, if it does not."""
    frames: list[Frame] = []
    address = f"{member.url.replace('http', 'ws', 1)}/ws/conversations/{conversation}/"
    with suppress(*GONE):
        async with limit, asyncio.timeout(READING + sum(world.late)):
            socket = await _let_in(address, world=world)
            async with socket:
                while not frames or frames[-1]["type"] != "caught_up":
                    frames.append(json.loads(await socket.recv()))
    world.note(FreshRead(conversation=conversation, process=member.life, frames=frames))


async def _let_in(address: str, *, world: World) -> ClientConnection:
    """A socket. On a busy machine a server gives up handshakes that took it too long, and whoever comes asks again."""
    while True:
        with suppress(InvalidHandshake):
            return await connect(address, additional_headers=world.headers, max_size=None, compression=None, proxy=None)


def _called(entry: dict[str, Any]) -> Called:
    """A request in the provider's log."""
    messages = (entry["body"] or {}).get("messages", [])
    asked = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    tag = TAG.match(asked)
    call_id = entry["headers"].get("X-Client-Request-Id", "")
    return Called(
        tag=tag[1] if tag else "",
        call_id=call_id,
        began=entry["at"],
        ended=entry.get("ended_at"),
        ending=f"refused: {entry['refused']}" if "refused" in entry else entry["ended"] or "",
        fragments=entry["fragments"],
        text=_text(entry["script"], call_id),
    )


def _text(script: str | None, call_id: str) -> str | None:
    """What was to be said in this call."""
    place = CALL_ID.match(call_id)
    return said(script, hop=int(place[1]), number=int(place[2] or 1)) if place else None


def _ran(note: Note, *, process: str) -> ToolRan:
    _, hop, index = note["call"].split("-")
    return ToolRan(
        turn=note["turn"],
        hop=int(hop),
        index=int(index),
        phase="began" if note["what"] == "tool begins" else "finished",
        idempotent=note["tool"] in IDEMPOTENT,
        process=process,
    )
