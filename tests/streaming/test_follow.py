"""Following while the tail moves on: a viewer that is slow to catch up gets every event, once and in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from history.committed import Entry
from history.draft import Draft
from history.events import UserMessage
from history.log import appending
from history.models import Conversation
from streaming import database
from streaming.answer import until_ended
from streaming.database import READERS, in_thread
from streaming.errors import Busy, Draining
from streaming.follow import PAGE, follow
from streaming.frames import CaughtUp, Delta, Event, Heartbeat, State
from streaming.hub import Hub
from streaming.tail import KEPT
from streaming.view import LARGEST
from tests.streaming.away import failing


def append(conversation_id: UUID, count: int) -> tuple[Entry, ...]:
    """So many more events, of which no hub is told."""
    with appending(conversation_id) as held:
        for _ in range(count):
            held.append(None, UserMessage(text="hi"))
    return held.entries()


async def numbers(frames: AsyncIterator[Any], *, upto: int) -> list[int]:
    """Those of the next events."""
    seen: list[int] = []
    async with asyncio.timeout(20):
        while upto not in seen:
            frame = await anext(frames)
            if isinstance(frame, Event):
                seen.append(frame.seq)
    return seen


async def test_a_gap_that_opens_while_a_viewer_catches_up_loses_nothing(async_db: None, django_user_model: Any) -> None:
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    hub = Hub(asyncio.get_running_loop())
    with hub.tail(conversation.pk) as tail:
        async with aclosing(follow(conversation.pk, hub=hub)) as frames:
            assert isinstance([frame async for frame in until_caught_up(frames)][-1], CaughtUp)
            await in_thread(append, conversation.pk, 2)
            tail.learn(2)
            seen = await numbers(frames, upto=1)  # and now it is slow
            await in_thread(append, conversation.pk, 1)
            tail.publish(await in_thread(append, conversation.pk, 2))

            seen += await numbers(frames, upto=5)

    assert seen == [1, 2, 3, 4, 5]


async def test_who_waits_for_the_database_hears_heartbeats(
    async_db: None, django_user_model: Any, settings: Any
) -> None:
    """R14: however long it is away, or busy with others."""
    settings.CHAT = {**settings.CHAT, "HEARTBEAT": 0.02}
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    back = threading.Event()
    others = [asyncio.create_task(in_thread(back.wait, 20)) for _ in range(READERS)]
    await asyncio.sleep(0)  # all threads are theirs

    async with asyncio.timeout(20), aclosing(follow(conversation.pk, hub=Hub(asyncio.get_running_loop()))) as frames:
        meanwhile = [await anext(frames) for _ in range(3)]
        back.set()
        then = [frame async for frame in until_caught_up(frames)]

    await asyncio.gather(*others)
    assert [type(frame) for frame in meanwhile] == [Heartbeat] * 3
    assert isinstance(then[-1], CaughtUp)


async def test_who_comes_while_the_database_is_away_waits_for_it(
    async_db: None, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R19."""
    monkeypatch.setattr(database, "PAUSE", 0.01)
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    await in_thread(append, conversation.pk, 2)

    frames = follow(conversation.pk, hub=here())
    async with failing([OperationalError("away")] * 3) as left, asyncio.timeout(20), aclosing(frames):
        seen = [frame async for frame in until_caught_up(frames)]

    assert not left
    assert [type(frame) for frame in seen if type(frame) is not State] == [Event, Event, CaughtUp]


async def test_who_comes_to_a_database_that_stays_away_is_told_to_come_back(
    async_db: None, django_user_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", -1.0)
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)

    frames = follow(conversation.pk, hub=here())
    async with failing([OperationalError("away")]), asyncio.timeout(20), aclosing(frames):
        with pytest.raises(Busy):
            await anext(frames)
    async with failing([OperationalError("away")]), asyncio.timeout(20):
        with pytest.raises(Busy):
            await until_ended(uuid4(), conversation_id=conversation.pk, hub=here())


def here() -> Hub:
    return Hub(asyncio.get_running_loop())


async def until_caught_up(frames: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Everything up to there."""
    async for frame in frames:
        yield frame
        if isinstance(frame, CaughtUp):
            return


async def test_more_events_than_a_tail_keeps_while_a_viewer_catches_up_lose_nothing(
    async_db: None, django_user_model: Any
) -> None:
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    hub = Hub(asyncio.get_running_loop())
    with hub.tail(conversation.pk) as tail:
        async with aclosing(follow(conversation.pk, hub=hub)) as frames:
            assert isinstance([frame async for frame in until_caught_up(frames)][-1], CaughtUp)
            await in_thread(append, conversation.pk, 2)
            tail.learn(2)
            seen = await numbers(frames, upto=1)  # and now it is slow
            tail.publish(await in_thread(append, conversation.pk, 3 * KEPT))

            seen += await numbers(frames, upto=3 * KEPT + 2)

    assert seen == list(range(1, 3 * KEPT + 3))


async def test_who_may_look_no_more_is_sent_away_between_two_pages(async_db: None, django_user_model: Any) -> None:
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    await in_thread(append, conversation.pk, 2 * PAGE)
    hub = Hub(asyncio.get_running_loop())
    async with aclosing(follow(conversation.pk, hub=hub)) as frames:
        await numbers(frames, upto=1)
        hub.close()

        await numbers(frames, upto=PAGE)
        with pytest.raises(Draining):
            await numbers(frames, upto=PAGE + 1)


async def test_a_draft_of_many_frames_comes_before_caught_up_and_whoever_may_not_look_gets_no_more(
    async_db: None, django_user_model: Any
) -> None:
    owner = await django_user_model.objects.acreate(username="ada")
    conversation = await Conversation.objects.acreate(owner=owner)
    draft = Draft(conversation.pk, turn_id=UUID(int=1), attempt=1, hop=0, after_seq=0)
    for _ in range(10):
        draft.append("text", "x" * LARGEST)
    hub = Hub(asyncio.get_running_loop())
    with hub.tail(conversation.pk) as tail:
        tail.draft, tail.live = draft, True
        async with aclosing(follow(conversation.pk, hub=hub)) as frames, asyncio.timeout(20):
            kinds = [type(frame) async for frame in until_caught_up(frames)]
        async with aclosing(follow(conversation.pk, hub=hub)) as frames:
            await anext(frames)
            hub.close()
            with pytest.raises(Draining):
                await anext(frames)

    assert [kind for kind in kinds if kind is not State] == [Delta] * 10 + [CaughtUp]
