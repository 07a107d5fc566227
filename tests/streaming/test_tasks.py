"""What a process says of the turns that run in it, to whoever looks after them."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from history.models import Conversation, Event, Turn
from llm.scripted import says
from llm.types import Finish, TextDelta
from streaming.tasks import Tasks
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


async def test_room_can_be_asked_for_in_any_thread_while_others_begin(stage: Any, often_switching: None) -> None:
    on = await stage([])
    tasks, ids = on.engine.tasks, [uuid4() for _ in range(50)]

    def begin() -> None:
        for _ in range(100):
            with ExitStack() as beginning:
                for turn_id in ids:
                    beginning.enter_context(tasks.expecting(turn_id))

    others = threading.Thread(target=begin)
    others.start()
    rooms = {tasks.room()}
    while others.is_alive():
        rooms.add(tasks.room())

    assert rooms == {tasks.room()}


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


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


def task_of(turn_id: UUID) -> asyncio.Task[Any]:
    """The task in which the turn runs."""
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == f"verbatim turn {turn_id}")
    return task


async def test_others_are_told_of_what_is_given_back(stage: Any) -> None:
    """Or it would wait until they look by themselves."""
    on = await stage([])
    told: list[str] = []
    hub, writer, engine = on.engine.hub, on.engine.writer, uuid4()
    tasks = Tasks(
        on.engine.loop,
        engine=engine,
        hub=hub,
        writer=writer,
        models=lambda _: on.model,
        released=lambda: told.append(""),
    )
    taken = await Turn.objects.acreate(
        conversation_id=on.conversation_id, owner=on.user, status="running", attempt=2, engine=engine
    )

    await tasks.end(patience=0.0)
    tasks.launch(taken.pk, attempt=2)
    await asyncio.sleep(0)  # it begins
    await task_of(taken.pk)

    assert len(told) == 1
    assert not await Turn.objects.filter(pk=taken.pk, engine=engine).aexists(), "nobody's, or already somebody else's"


async def test_a_turn_that_failed_and_could_not_be_ended_is_known_to_be_left(stage: Any) -> None:
    """Nothing can be done about a log that cannot be read; but it is a loss of ours, and not a turn that has yet to
    begin."""
    on = await stage([])
    conversation = await Conversation.objects.acreate(owner=on.user, last_seq=1)
    broken = await Turn.objects.acreate(
        conversation=conversation, owner=on.user, status="running", attempt=1, engine=on.engine.id
    )
    await Event.objects.acreate(
        conversation=conversation, seq=1, turn=broken, kind="assistant_message", data={"hop": "?"}
    )

    on.engine.tasks.launch(broken.pk, attempt=1)
    await asyncio.sleep(0)  # it begins
    await task_of(broken.pk)

    assert on.engine.tasks.has_left(broken.pk)
    await Turn.objects.filter(pk=broken.pk).aupdate(status="failed")


async def test_what_cannot_be_given_back_as_the_process_ends_is_left_with_one_line(
    stage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """R20: the database is away, or there was no time; its lease lapses, and that is no fault of ours."""
    on = await stage([])
    conversation = await Conversation.objects.acreate(owner=on.user)
    taken = await Turn.objects.acreate(
        conversation=conversation, owner=on.user, status="running", attempt=2, engine=on.engine.id
    )
    await on.engine.drain(patience=0.0)

    on.engine.tasks.launch(taken.pk, attempt=2)
    await asyncio.sleep(0)  # it begins
    await task_of(taken.pk)

    (line,) = (record for record in caplog.records if record.name == "streaming.tasks")
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert f"{taken.pk} is left as it is" in line.getMessage()
    assert not on.engine.tasks.has_left(taken.pk)
