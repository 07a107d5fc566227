"""An engine in the test's own process, with a scripted model and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from access.principals import Principal
from history import committed
from history.models import Conversation
from llm.scripted import ScriptedModel, Step
from streaming import engine as engines
from streaming.cursor import parse
from streaming.database import in_thread
from streaming.engine import Engine
from streaming.follow import follow
from streaming.orders import Order
from streaming.turns import Started, start_turn
from tests.fold import Folded

T = TypeVar("T")


@contextmanager
def unheard() -> Iterator[None]:
    """Nobody in this process is told of what is committed."""
    heard, committed.listeners[:] = committed.listeners[:], []
    try:
        yield
    finally:
        committed.listeners[:] = heard


async def elsewhere(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """As another process does it: nobody here is told."""

    def act() -> T:
        with unheard():
            return call(*args, **kwargs)

    return await sync_to_async(act)()


class Stage:
    """One conversation of one user, an engine, and the script its model follows."""

    def __init__(self, user: User, conversation: Conversation, engine: Engine, model: ScriptedModel) -> None:
        self.user = user
        self.principal = Principal(user_id=user.pk)
        self.conversation_id: UUID = conversation.pk
        self.engine = engine
        self.model = model
        self.watched: dict[int, Folded] = {}

    async def send(self, text: str | None = "hi", **order: Any) -> Started:
        """Ask something, under a request id of its own unless one is given."""
        order = {"request_id": uuid4().hex, "text": text, **order}
        return await in_thread(start_turn, self.principal, self.conversation_id, Order(**order))

    async def watch(self, *, until: Callable[[Folded], bool], after: str = "", folded: Folded | None = None) -> Folded:
        """Follow until the fold is as wanted, then hang up."""
        folded = Folded() if folded is None else folded
        self.watched[id(folded)] = folded
        frames = follow(self.conversation_id, hub=self.engine.hub, after=parse(after), principal=self.principal)
        async with asyncio.timeout(20), aclosing(frames):
            async for frame in frames:
                folded.add(frame)
                if until(folded):
                    break
        return folded

    async def the_law_holds(self) -> None:
        """Old state + the frames sent = a fresh read, for everybody who watched."""
        for folded in tuple(self.watched.values()):
            folded = await self.watch(until=caught_up, after=folded.reconnected().cursor, folded=folded)
            fresh = await self.fresh()
            assert (folded.log, folded.runs, folded.cursor) == (fresh.log, fresh.runs, fresh.cursor)

    async def fresh(self) -> Folded:
        """What somebody sees who comes now, up to where they have caught up."""
        return await self.watch(until=caught_up)


def caught_up(folded: Folded) -> bool:
    """What was there is here."""
    return folded.caught_up


def has_ended(turns: int = 1) -> Callable[[Folded], bool]:
    """So many turns are over."""
    return lambda folded: sum(event["kind"] == "turn_ended" for event in folded.events.values()) >= turns


@pytest.fixture
async def stage(async_db: None) -> AsyncIterator[Callable[[Sequence[Sequence[Step]]], Any]]:
    """Sets the stage: `await stage([reply, ...])`. At the end of every test the law of the log holds, unless the test
    itself has ended the engine or the conversation."""
    from django.contrib.auth import get_user_model

    on: Stage | None = None

    async def build(replies: Sequence[Sequence[Step]]) -> Stage:
        nonlocal on
        model = ScriptedModel(replies)
        user = await sync_to_async(get_user_model().objects.create_user)("ada")
        conversation = await Conversation.objects.acreate(owner=user)
        engine = engines.install(Engine(asyncio.get_running_loop(), models=lambda name: model))
        on = Stage(user, conversation, engine, model)
        return on

    yield build
    if on is not None:
        try:
            if not on.engine.draining and await Conversation.objects.filter(pk=on.conversation_id).aexists():
                await on.the_law_holds()
        finally:
            await on.engine.drain(patience=0.0)
            engines._engine = None
