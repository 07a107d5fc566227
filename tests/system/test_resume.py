"""Resume is exact: wherever and however often a viewer is cut off, it ends with what is stored, word for word.

A gate before every step of the provider's script holds the answer at known points, so where a viewer is when it comes
back is known, not guessed:

- before the first delta: the provider was asked, and waits at its first gate;
- live tail: it waits in the middle of a hop, and the server is the one that runs the turn;
- stored draft: the same, but another server on the same database, which can only know what is stored;
- compaction: the provider has ended the hop, and somebody else holds the database's write lock, so that the draft
  cannot give way to its events; then the lock is let go, and viewers reconnect all the time until they have the events;
- between hops: tools have answered, the provider was asked again, and waits at the first gate of the next hop;
- after the end, and after a restart, in whose course the turn was ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum

from hypothesis import Phase, example, given, settings

from tests.client import Client
from tests.fold import Folded
from tests.provider import ProviderProcess
from tests.server import Kind, NewSite, Site
from tests.system.held import HeldAnswer, Position, held, kinds, nobody_writes
from tests.system.scripts import Hop, answers
from tests.system.viewers import Runs, Viewer, assert_lawful, clipped, fresh_read, runs_of

TWO_SERVERS = {"BATCH_INTERVAL": 0.05, "POSITION_POLL": 0.05, "MISSING_DRAFT": 60}
"""What one stores, the other sees soon; and nothing is withdrawn because a busy machine stored it late."""
KILLED = {"BATCH_CHARS": 1, "LEASE": 1.5, "LEASE_RENEWAL": 0.3, "MAX_LOSSES": 1}
"""Every fragment is stored at once, and a dead server's turn is soon ended, not asked again."""
BYSTANDER = {"LEASE": 3600, "MISSING_DRAFT": 0.3, "POSITION_POLL": 0.1}
"""What was not stored is soon withdrawn, but a dead server's turn is left to others."""
TERMINATED = {"BATCH_INTERVAL": 60, "DRAIN": 0}
"""Nothing is stored but by the end."""

RICH: list[Hop] = [
    [
        {"reasoning": "Thinking 🧠"},
        {"text": "שלום "},
        {"halves": "👨‍👩‍👧‍👦🇩🇪"},
        {"tool": {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression"'}},
        {"tool": {"index": 1, "id": "b", "name": "current_time", "arguments": "{}"}},
        {"text": "…"},
        {"tool": {"index": 0, "arguments": ': "1 / 0"}'}},
    ],
    [{"tool": {"index": 0, "id": "c", "name": "calculator", "arguments": '{"expression": "6 * 7"}'}}],
    [{"reasoning": "So"}, {"halves": "4²𐍈"}, {"text": "\u202e.\u202c"}, {"reasoning": "!"}],
]
LAST = len(RICH) - 1


class Place(StrEnum):
    """Where a viewer comes back, while the server lives."""

    FIRST = "before the first delta"
    TAIL = "from the live tail"
    STORED = "from the stored draft"
    COMPACTION = "during compaction"
    HOPS = "between hops"
    END = "after the end"


class Cutting:
    """Cuts viewers of an answer wherever it is held, and counts where they came back."""

    def __init__(self, answer: HeldAnswer, *, other: Client, site: Site, cuts: Counter[Place]) -> None:
        self.answer = answer
        self.client = answer.client
        self.other = other
        self.site = site
        self.cuts = cuts
        self.viewers: list[Viewer] = []

    async def run(self) -> None:
        """From the first gate to the end, and after it everybody once more."""
        answer = self.answer
        for hop, steps in enumerate(answer.hops):
            await self.return_at(answer.positions(), place=Place.HOPS if hop else Place.FIRST)
            for step in range(len(steps)):
                await self.go_through(hop, step)
            await self.return_at(answer.newest_positions(), place=Place.STORED, client=self.other)
            await self.end(hop)
        cut_before, self.viewers = self.viewers, []
        for at, client in enumerate((self.client, self.other)):
            await self.come_back(cut_before[at::2], place=Place.END, client=client)
            await self.return_at(answer.positions(), place=Place.END, client=client)

    async def return_at(self, positions: Iterable[Position], *, place: Place, client: Client | None = None) -> None:
        """For each position a new viewer who comes back there, and is cut again."""
        await self.come_back(map(self.answer.viewer_at, positions), place=place, client=client or self.client)

    async def come_back(self, viewers: Iterable[Viewer], *, place: Place, client: Client, stay: bool = False) -> None:
        """While the answer is held, all see the same."""
        here = list(viewers)
        await asyncio.gather(*(self.see(viewer, client=client) for viewer in here))
        self.cuts[place] += len(here)
        if not stay:
            await self.cut(here)

    async def see(self, viewer: Viewer, *, client: Client) -> None:
        await viewer.go_on(client)
        await viewer.until(lambda folded: folded.cursor == self.answer.seen.cursor)
        assert (viewer.folded.log, viewer.folded.runs) == (self.answer.seen.log, self.answer.seen.runs)

    async def cut(self, viewers: list[Viewer]) -> None:
        await asyncio.gather(*(viewer.cut(goodbye=bool(at % 2)) for at, viewer in enumerate(viewers)))
        self.viewers += viewers

    async def go_through(self, hop: int, step: int) -> None:
        """Two viewers hear the step live; then one comes back for each code point of it."""
        answer = self.answer
        listening = [answer.viewer_at(position) for position in answer.newest_positions()[-2:]]
        await self.come_back(listening, place=Place.TAIL, client=self.client, stay=True)
        fresh = await answer.say(hop, step)
        await asyncio.gather(*(v.until(lambda folded: folded.cursor == answer.seen.cursor) for v in listening))
        await self.cut(listening)
        await self.return_at(fresh, place=Place.TAIL)

    async def end(self, hop: int) -> None:
        """Viewers come back while the draft cannot, and then while it does become events."""
        answer, events = self.answer, len(self.answer.seen.log)
        positions = answer.newest_positions()
        chosen = [positions[at] for at in sorted({0, len(positions) // 2, len(positions) - 1})]
        with nobody_writes(self.site):
            await answer.open(hop, len(answer.hops[hop]))
            await answer.provider.requests_async(hop + 1, ended=True)
            await self.return_at(chosen, place=Place.COMPACTION)
            await self.return_at(chosen, place=Place.COMPACTION, client=self.other)
            knocking = [
                asyncio.create_task(self.knock(answer.viewer_at(position), client=client, events=events))
                for position in chosen
                for client in (self.client, self.other)
            ]
            await asyncio.sleep(0)  # all have begun
        await asyncio.gather(*knocking)
        await answer.hop_ended(hop)

    async def knock(self, viewer: Viewer, *, client: Client, events: int) -> None:
        """Come back in tight succession, until there are more events than these."""
        while len(viewer.folded.log) == events:
            await viewer.go_on(client)
            await viewer.until(lambda folded: True)
            self.cuts[Place.COMPACTION] += 1
        await self.cut([viewer])


def test_a_viewer_cut_anywhere_any_number_of_times_ends_with_what_is_stored(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    cuts = Counter(dict.fromkeys(Place, 0))
    site, key = new_site()
    with site.start(kind, chat=TWO_SERVERS) as first, site.start(kind, chat=TWO_SERVERS) as second:
        client, other = Client(first.url, key=key), Client(second.url, key=key)

        @settings(max_examples=3, deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
        @given(answers)
        @example(RICH)
        def check(hops: list[Hop]) -> None:
            asyncio.run(cut_everywhere(hops, client=client, other=other, site=site, provider=provider, cuts=cuts))

        check()

    for place, count in cuts.items():
        measured(f"{kind}: {count:4} viewers came back {place}")
    assert all(cuts.values()), cuts


async def cut_everywhere(
    hops: list[Hop], *, client: Client, other: Client, site: Site, provider: ProviderProcess, cuts: Counter[Place]
) -> None:
    """One answer, all of whose viewers must end with what is stored."""
    async with held(hops, provider=provider, client=client) as answer:
        cutting = Cutting(answer, other=other, site=site, cuts=cuts)
        await cutting.run()

    fresh = await fresh_read(client, answer.conversation)
    assert fresh == await fresh_read(other, answer.conversation)
    for viewer in (Viewer(answer.conversation, answer.seen), *cutting.viewers):
        assert_lawful(viewer, fresh)
        assert not viewer.folded.resets
    for seq, runs in answer.drafts.items():
        assert runs_of(fresh.log[seq + 1]["data"]) == runs
    assert fresh.events[len(fresh.events)]["data"]["status"] == "completed"


async def test_after_kill_and_a_restart_every_viewer_has_what_is_stored_and_was_told_what_is_not(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    site, key = new_site()
    with site.start(kind, chat=KILLED) as server:
        client = Client(server.url, key=key)
        async with held(RICH, provider=provider, client=client) as answer:
            await say_all_but_one_step(answer)
            with nobody_writes(site):  # so that the last step is surely shown, and surely not stored
                await answer.say(LAST, len(RICH[LAST]) - 1)
                server.kill()
    with site.start(kind, chat=BYSTANDER, port=server.port):
        viewers = await all_come_back(answer, client=client)
        kept = await see_the_same(viewers, client=client)
        withdrawn = {viewer.folded.resets for viewer in viewers}
        with site.start(kind, chat=KILLED) as another:
            await Client(another.url, key=key).events(answer.conversation)  # which wakes it up
            end = await see_the_end(viewers, client=client)

    said = answer.drafts[len(kept.log)]
    assert kept.runs == clipped(said, end=kept.length) != said
    assert withdrawn == {0, 1}
    assert end.events[len(end.events)]["data"]["error"]["code"] == "interrupted"
    assert last_runs(end) == kept.runs
    assert withdrawn == {viewer.folded.resets for viewer in viewers}
    measured(f"{kind}: {len(viewers):4} viewers came back after kill -9 and a restart")


async def test_after_sigterm_and_a_restart_every_viewer_sees_the_answer_begun_again_and_ended(
    kind: Kind, new_site: NewSite, provider: ProviderProcess, measured: Callable[[str], None]
) -> None:
    site, key = new_site()
    with site.start(kind, chat=TERMINATED) as server:
        client = Client(server.url, key=key)
        async with held(RICH, provider=provider, client=client) as answer:
            await say_all_but_one_step(answer)
            await answer.say(LAST, len(RICH[LAST]) - 1)
            server.terminate()
            await answer.reference.until_closed()
            await asyncio.to_thread(server.wait)
    await asyncio.to_thread(provider.script, [{"text": "At last."}], queue=[])
    with site.start(kind, chat=TERMINATED, port=server.port):
        viewers = await all_come_back(answer, client=client)
        end = await see_the_end(viewers, client=client)

    assert kinds(end)[-3:] == ["turn_restarted", "assistant_message", "turn_ended"]
    assert last_runs(end) == [("text", "At last.")]
    assert end.events[len(end.events)]["data"]["status"] == "completed"
    assert {viewer.folded.resets for viewer in viewers} == {0}
    measured(f"{kind}: {len(viewers):4} viewers came back after SIGTERM and a restart")


async def say_all_but_one_step(answer: HeldAnswer) -> None:
    """To the middle of the last hop."""
    for hop, steps in enumerate(answer.hops):
        for step in range(len(steps) - (hop == LAST)):
            await answer.say(hop, step)
        if hop != LAST:
            await answer.open(hop, len(steps))
            await answer.hop_ended(hop)


async def all_come_back(answer: HeldAnswer, *, client: Client) -> list[Viewer]:
    """One viewer for every position that the answer had, and the one who had seen it all."""
    viewers = [*map(answer.viewer_at, answer.positions()), Viewer(answer.conversation, answer.seen)]
    await asyncio.gather(*(viewer.go_on(client) for viewer in viewers))
    return viewers


async def see_the_same(viewers: list[Viewer], *, client: Client) -> Folded:
    """What all of them see in the end, and whoever comes now."""
    fresh = await fresh_read(client, viewers[0].conversation)
    await asyncio.gather(*(viewer.until(lambda folded: folded.cursor == fresh.cursor) for viewer in viewers))
    for viewer in viewers:
        assert_lawful(viewer, fresh)
    return fresh


async def see_the_end(viewers: list[Viewer], *, client: Client) -> Folded:
    """What all of them see once the turn is over."""
    await asyncio.gather(*(viewer.until(lambda folded: "turn_ended" in kinds(folded)) for viewer in viewers))
    fresh = await see_the_same(viewers, client=client)
    await asyncio.gather(*(viewer.cut() for viewer in viewers))
    return fresh


def last_runs(folded: Folded) -> Runs:
    """The last hop of a turn that was broken off, as it is stored."""
    message = folded.events[len(folded.events) - 1]
    return runs_of(message["data"]) if message["kind"] == "assistant_message" else []
