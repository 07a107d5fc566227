"""An engine in the test's own process, with a scripted model and a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from access.principals import Principal
from history.models import Conversation
from llm.scripted import ScriptedModel, Step
from streaming import engine as engines
from streaming.cursor import parse
from streaming.database import in_thread
from streaming.engine import Engine
from streaming.follow import follow
from streaming.turns import Order, Started, start_turn
from tests.fold import Folded


class Stage:
    """One conversation of one user, an engine, and the script its model follows."""

    def __init__(self, user: User, conversation: Conversation, engine: Engine, model: ScriptedModel) -> None:
        self.user = user
        self.principal = Principal(user_id=user.pk)
        self.conversation_id: UUID = conversation.pk
        self.engine = engine
        self.model = model

    async def send(self, text: str | None = "hi", **order: Any) -> Started:
        """Ask something, under a request id of its own unless one is given."""
        order = {"request_id": uuid4().hex, "text": text, **order}
        return await in_thread(start_turn, self.principal, self.conversation_id, Order(**order))

    async def watch(self, *, until: Callable[[Folded], bool], after: str = "", folded: Folded | None = None) -> Folded:
        """Follow until the fold is as wanted, then hang up."""
        folded = folded or Folded()
        frames = follow(self.conversation_id, hub=self.engine.hub, after=parse(after), principal=self.principal)
        async with asyncio.timeout(20), aclosing(frames):
            async for frame in frames:
                folded.add(frame)
                if until(folded):
                    break
        return folded

    async def fresh(self) -> Folded:
        """What somebody sees who comes now, up to where they have caught up."""
        return await self.watch(until=lambda folded: folded.caught_up)


def has_ended(turns: int = 1) -> Callable[[Folded], bool]:
    """So many turns are over."""
    return lambda folded: sum(event["kind"] == "turn_ended" for event in folded.events.values()) >= turns


@pytest.fixture
async def stage(async_db: None) -> AsyncIterator[Callable[[Sequence[Sequence[Step]]], Any]]:
    """Sets the stage: `await stage([reply, ...])`."""
    from django.contrib.auth import get_user_model

    engine: Engine | None = None

    async def build(replies: Sequence[Sequence[Step]]) -> Stage:
        nonlocal engine
        model = ScriptedModel(replies)
        user = await sync_to_async(get_user_model().objects.create_user)("ada")
        conversation = await Conversation.objects.acreate(owner=user)
        engine = engines.install(Engine(asyncio.get_running_loop(), models=lambda name: model))
        return Stage(user, conversation, engine, model)

    yield build
    if engine is not None:
        await engine.drain(patience=0.0)
        engines._engine = None
