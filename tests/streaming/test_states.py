"""What viewers are shown beside the log: whole when they come, then what changes, whoever changed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async

from history import conversations, positions, replay
from history.models import Conversation
from history.states import states
from llm.scripted import says
from llm.types import TextDelta
from streaming.database import in_thread
from streaming.doorbell import Ring
from streaming.states import States
from streaming.tail import Tail
from streaming.turns import stop_turn
from streaming.viewer import Viewer
from tests.fold import Folded
from tests.streaming.conftest import Stage, caught_up, elsewhere, has_ended

KEYS = {"title", "status", "model", "archived"}


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """Nothing is noticed only because of the poll."""
    settings.CHAT = {"POSITION_POLL": 3_600.0}


def shows(**wanted: Any) -> Callable[[Folded], bool]:
    return lambda folded: folded.caught_up and wanted.items() <= folded.state.items()


async def fresh_read(on: Stage) -> dict[str, Any]:
    found = await in_thread(states, [on.conversation_id])
    return dict(found[on.conversation_id])


async def test_who_comes_is_shown_the_whole_state_before_it_has_caught_up(stage: Any) -> None:
    """A0.10."""
    on = await stage([says("Hello.")])
    await on.send("What is it?")
    await on.watch(until=has_ended())

    fresh = await on.fresh()

    assert {key: fresh.state[key] for key in KEYS} == await fresh_read(on)
    assert (fresh.state["title"], fresh.state["status"], fresh.state["model"]) == ("What is it?", "idle", "demo")


async def test_who_comes_while_something_changes_is_shown_the_whole_state_too(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looks already, so it is known here; until it is looked at again, it is not."""
    on = await stage([])
    missed = replay.missed

    def meanwhile(*args: Any, **options: Any) -> replay.Missed:
        found = missed(*args, **options)
        conversations.rename(on.conversation_id, title="Another")
        return found

    async def for_ever(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(States, "_look", for_ever)
    with on.engine.hub.tail(on.conversation_id):
        await on.watch(until=caught_up)
        monkeypatch.setattr(replay, "missed", meanwhile)
        fresh = await on.fresh()

    assert fresh.state.keys() >= KEYS


async def test_what_somebody_finds_who_comes_before_it_is_looked_at_again_is_shown_to_the_others() -> None:
    tail = Tail(uuid4())
    looks = Viewer(None, loop=asyncio.get_running_loop())
    tail.viewers.add(looks)
    tail.join(1, draft=None, state={"title": "One"})
    looks.looks()

    States({tail.conversation_id: tail}).hear([tail.conversation_id])
    tail.join(1, draft=None, state={"title": "Another"})

    assert looks.told
    assert tail.state == {"title": "Another"}


async def test_what_was_shown_and_what_changed_since_is_a_fresh_read_at_every_change(stage: Any) -> None:
    on = await stage([[TextDelta(text="So far"), asyncio.Event()]])
    folded = await on.watch(until=caught_up)
    assert folded.state == {"title": "", "status": "idle", "model": "", "archived": False}
    watched = Folded()

    async def sees(**wanted: Any) -> None:
        again = watched.reconnected()
        await on.watch(until=shows(**wanted), after=again.cursor, folded=again)
        assert {key: watched.state[key] for key in KEYS} == await fresh_read(on)

    watching = asyncio.create_task(sees(status="running", model="demo", title="What is it?"))
    started = await on.send("What is it?")
    await watching
    watching = asyncio.create_task(sees(status="idle", title="Another", archived=True))
    await sync_to_async(conversations.rename)(on.conversation_id, title="Another")
    await sync_to_async(conversations.change)(on.conversation_id, archived=True)
    await in_thread(stop_turn, on.principal, started.turn_id)
    await watching


async def test_what_another_process_changes_is_seen_when_it_rings(stage: Any) -> None:
    on = await stage([])
    watching = asyncio.create_task(on.watch(until=shows(title="Elsewhere")))
    await on.watch(until=caught_up)

    await elsewhere(conversations.rename, on.conversation_id, title="Elsewhere")
    on.engine.hub.hear(Ring(events={str(on.conversation_id): 0}))
    folded = await watching

    assert folded.state["title"] == "Elsewhere"


async def test_what_nobody_has_told_of_is_seen_after_a_while(stage: Any, settings: Any) -> None:
    """A1.1: by construction, not by care."""
    settings.CHAT = {"POSITION_POLL": 0.05}
    on = await stage([])
    watching = asyncio.create_task(on.watch(until=shows(title="By hand")))
    await on.watch(until=caught_up)

    await Conversation.objects.filter(pk=on.conversation_id).aupdate(title="By hand")
    folded = await watching

    assert folded.state["title"] == "By hand"
    assert (await in_thread(positions.positions, [on.conversation_id])) == {on.conversation_id: 0}


async def test_all_are_looked_at_once_in_a_while_however_much_is_heard_of_some(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody has told of is in a conversation in which nothing else happens; elsewhere something always does."""
    settings.CHAT = {"POSITION_POLL": 0.2}
    busy, calm = Tail(uuid4()), Tail(uuid4())
    kept = States({tail.conversation_id: tail for tail in (busy, calm)})
    seen = asyncio.Event()

    async def look(self: States, asked: Iterable[UUID]) -> None:
        if calm.conversation_id in asked:
            seen.set()
        self.hear([busy.conversation_id])

    monkeypatch.setattr(States, "_look", look)
    kept.hear([busy.conversation_id])

    keeping = asyncio.create_task(kept.keep())
    try:
        async with asyncio.timeout(5):
            await seen.wait()
    finally:
        keeping.cancel()
