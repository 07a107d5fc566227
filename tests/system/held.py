"""An answer that is held at every step, so that a test knows where it is while viewers come and go."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from copy import deepcopy

from tests.client import Client, Socket, ended
from tests.fold import Folded
from tests.provider import ProviderProcess
from tests.server import Site
from tests.system.scripts import Hop, arguments_of, counted, gate, gated
from tests.system.viewers import Runs, Viewer, clipped

Position = tuple[int, int]
"""The number of an event, and code points of the draft after it."""


class HeldAnswer:
    """A gate before every step of the provider's script. `reference` is a viewer that is never cut."""

    def __init__(
        self, hops: list[Hop], *, provider: ProviderProcess, client: Client, conversation: str, reference: Socket
    ) -> None:
        self.hops = hops
        self.provider = provider
        self.client = client
        self.conversation = conversation
        self.reference = reference
        self.drafts: dict[int, Runs] = {}
        """Each draft in full, as the reference saw it, by the number of the event before it."""

    @property
    def seen(self) -> Folded:
        """What there is to see."""
        return self.reference.folded

    async def ask(self) -> None:
        """Send the message; then the provider waits at its first gate."""
        await self.reference.send("Go on.")
        await self.reference.until(lambda socket: bool(socket.folded.events))
        await self.provider.requests_async(1)

    async def say(self, hop: int, step: int) -> list[Position]:
        """Let a step happen and arrive; the positions that are new."""
        seq, before = len(self.seen.log), self.seen.length
        length, arguments = before + counted(self.hops[hop][step]), arguments_of(self.hops[hop][: step + 1])
        await self.open(hop, step)
        await self.reference.until(lambda s: (s.folded.length, s.folded.arguments) == (length, arguments))
        self.drafts[seq] = list(self.seen.runs)
        return [(seq, offset) for offset in range(before + 1, length + 1)]

    async def open(self, hop: int, step: int) -> None:
        """Open the gate before a step."""
        await asyncio.to_thread(self.provider.open_gate, gate(hop, step))

    async def hop_ended(self, hop: int) -> None:
        """Until its events are there, and the provider waits at the first gate of the next hop, if there is one."""
        if hop + 1 == len(self.hops):
            await self.reference.until(ended())
            return
        await self.provider.requests_async(hop + 2)
        results = sum(len(arguments_of(steps)) for steps in self.hops[: hop + 1])
        await self.reference.until(lambda s: kinds(s.folded).count("tool_result") == results)

    def positions(self) -> list[Position]:
        """Every event and every code point of every draft so far."""
        return [(seq, at) for seq in range(len(self.seen.log) + 1) for at in self._offsets(seq)]

    def newest_positions(self) -> list[Position]:
        """Every code point of the draft in progress."""
        return [(len(self.seen.log), offset) for offset in range(self.seen.length + 1)]

    def viewer_at(self, position: Position) -> Viewer:
        """One who was cut there, and has what the reference had there."""
        seq, offset = position
        seen = Folded(
            log={number: deepcopy(event) for number, event in self.seen.log.items() if number <= seq},
            runs=clipped(self.drafts.get(seq, []), end=offset),
            cursor=f"{seq}.{offset}",
        )
        return Viewer(self.conversation, seen)

    def _offsets(self, seq: int) -> range:
        return range(sum(len(text) for _, text in self.drafts.get(seq, [])) + 1)


@asynccontextmanager
async def held(hops: list[Hop], *, provider: ProviderProcess, client: Client) -> AsyncIterator[HeldAnswer]:
    """An answer in a conversation of its own, asked for, with the provider at its first gate."""
    provider.reset()
    provider.script(gated(hops))
    conversation = await client.new_conversation()
    async with client.socket(conversation) as reference:
        answer = HeldAnswer(hops, provider=provider, client=client, conversation=conversation, reference=reference)
        await answer.ask()
        yield answer


@contextmanager
def nobody_writes(site: Site) -> Iterator[None]:
    """Hold the database's write lock, as another process would in the middle of a transaction."""
    path = site.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


def kinds(folded: Folded) -> list[str]:
    """The kinds of the events, in order."""
    return [event["kind"] for event in folded.events.values()]
