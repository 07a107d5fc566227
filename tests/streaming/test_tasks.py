"""What a process says of the turns that run in it, to whoever looks after them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from history.models import Conversation, Turn
from llm.scripted import says
from llm.types import Finish, TextDelta
from tests.streaming.conftest import has_ended


async def test_a_turn_that_is_just_beginning_is_among_those_that_run_here(stage: Any) -> None:
    """Or it would be taken for one that its own process has lost."""
    on = await stage([says("Hello.")])
    seen: list[frozenset[UUID]] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        if coroutine.__qualname__ == "Tasks._run":
            seen.append(on.engine.tasks.ids())
        return task

    asyncio.get_running_loop().set_task_factory(factory)
    started = await on.send()
    await on.watch(until=has_ended())

    assert seen == [frozenset({started.turn_id})]


async def test_a_turn_that_is_taken_over_as_the_process_ends_is_given_back(stage: Any) -> None:
    more = asyncio.Event()
    on = await stage([[TextDelta(text="Hello."), more, Finish(reason="stop")]])
    await on.send()
    await on.watch(until=lambda folded: folded.draft == "Hello.")
    conversation = await Conversation.objects.acreate(owner=on.user)
    taken = await Turn.objects.acreate(
        conversation=conversation, owner=on.user, status="running", attempt=2, engine=on.engine.id, id=uuid4()
    )

    draining = asyncio.create_task(on.engine.drain(patience=20.0))
    await asyncio.sleep(0)  # it begins
    assert on.engine.tasks.is_ending
    on.engine.tasks.launch(taken.pk, attempt=2)
    more.set()
    await draining

    row = await Turn.objects.aget(pk=taken.pk)
    assert (row.status, row.engine, row.attempt) == ("running", None, 2)
