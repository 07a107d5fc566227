"""Conversations, turns and drafts to test the log with, and many threads that act on them at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from threading import Barrier, Event, Semaphore, Thread
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import connection, transaction

from history import log, status
from history.compaction import Place
from history.draft import Draft, merge_runs
from history.events import AssistantMessage, ToolResult, UserMessage
from history.log import appending
from history.models import Conversation, DeltaBatch, Turn
from llm.types import ToolCall

S = TypeVar("S")
T = TypeVar("T")
WAIT = 20.0
"""Seconds after which a thread that should have gone on is taken for stuck."""


def new_conversation(user: User) -> Conversation:
    """An empty conversation of `user`."""
    return Conversation.objects.create(owner=user)


def new_turn(conversation: Conversation, *, text: str = "hi", **fields: Any) -> Turn:
    """A queued turn and its message, as `start_turn` leaves them."""
    with appending(conversation.pk) as held:
        turn = Turn.objects.create(conversation=conversation, owner_id=conversation.owner_id, **fields)
        held.append(turn.pk, UserMessage(text=text))
    return turn


def claimed(turn: Turn, *, engine: UUID | None = None, lease: float = 60.0) -> Place:
    """The turn, owned by an engine; a negative lease has lapsed already."""
    assert status.claim(turn.pk, engine=engine or uuid4(), lease=lease)
    return place_of(turn)


def place_of(turn: Turn) -> Place:
    """Where the turn's present attempt writes."""
    turn.refresh_from_db()
    return Place(turn.conversation_id, turn.pk, turn.attempt)


def engine_of(place: Place) -> UUID:
    """The engine that owns the turn."""
    engine = Turn.objects.values_list("engine", flat=True).get(pk=place.turn_id)
    assert engine is not None
    return engine


def running(user: User, *, lease: float = 60.0) -> Place:
    """A claimed turn in a conversation of its own."""
    return claimed(new_turn(new_conversation(user)), lease=lease)


def store(place: Place, *batches: list[tuple[Any, str]], hop: int = 0) -> None:
    """Batches of the draft as the writer stores them: each a list of fragments with their channels."""
    start = 0
    for batch in batches:
        text = "".join(piece for _, piece in batch)
        runs = merge_runs((channel, len(piece)) for channel, piece in batch)
        DeltaBatch.objects.create(
            turn_id=place.turn_id, attempt=place.attempt, hop=hop, start=start, text=text, runs=runs
        )
        start += len(text)


def batches(turn_id: UUID) -> list[tuple[int, str]]:
    """Start and text of the stored batches of a turn, in order."""
    rows = DeltaBatch.objects.filter(turn_id=turn_id).order_by("attempt", "hop", "start")
    return list(rows.values_list("start", "text"))


def said(text: str, *, hop: int = 0, calls: int = 0) -> AssistantMessage:
    """What a model said in a hop, with so many tool calls."""
    tool_calls = tuple(ToolCall(id=f"call_{hop}_{n}", name="clock", arguments="{}") for n in range(calls))
    runs = merge_runs([("text", len(text))])
    return AssistantMessage(hop=hop, text=text, tool_calls=tool_calls, finish_reason="stop", model="m", runs=runs)


def answered(content: str, *, hop: int = 0, index: int = 0) -> ToolResult:
    """What a tool answered to a call made by `said`."""
    return ToolResult(hop=hop, index=index, tool_call_id=f"call_{hop}_{index}", name="clock", content=content)


def entries(conversation_id: UUID) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, kind and data of the whole log of a conversation."""
    return [(entry.seq, entry.kind, entry.data) for entry in log.read(conversation_id, after=0).entries]


def kinds(conversation_id: UUID) -> list[str]:
    """The kinds of a conversation's events, in order."""
    return [kind for _, kind, _ in entries(conversation_id)]


class Watched(Draft):
    """A draft that lets a test wait until the writer has looked at it, or has stored of it."""

    def __init__(self, place: Place, *, hop: int = 0) -> None:
        super().__init__(place.conversation_id, turn_id=place.turn_id, attempt=place.attempt, hop=hop, after_seq=1)
        self.looks = Semaphore(0)
        self.looked: Callable[[], None] = lambda: None
        self.stores = Semaphore(0)

    def unstored(self) -> Any:
        self.looks.release()
        self.looked()
        return super().unstored()

    def mark_stored(self, *, parts: int, length: int) -> None:
        super().mark_stored(parts=parts, length=length)
        self.stores.release()

    def say(self, text: str) -> None:
        self.append("text", text)

    def wait_until_stored(self) -> None:
        while self.stored < self.length:
            assert self.stores.acquire(timeout=WAIT), "never stored"

    def wait_for_looks(self, count: int) -> None:
        for _ in range(count):
            assert self.looks.acquire(timeout=WAIT), "never looked at"


def at_once(*calls: Callable[[], T]) -> list[T | Exception]:
    """Call each in a thread of its own, all released together; what they return, or raise, in order."""
    results: list[Any] = [None] * len(calls)
    barrier = Barrier(len(calls))

    def act(number: int, call: Callable[[], T]) -> None:
        try:
            barrier.wait(WAIT)
            results[number] = call()
        except Exception as error:
            results[number] = error
        finally:
            connection.close()

    threads = [Thread(target=act, args=(number, call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT)
        assert not thread.is_alive(), "a thread is stuck"
    return results


def interrupted(
    call: Callable[[], T], *, by: Callable[[], S], before: int
) -> tuple[T | Exception, S | Exception | None]:
    """Do `call`, and just before its statement number `before` have somebody else do `by`, who does not wait for locks
    for long. What both returned or raised; None if there was no such statement."""
    seen = 0
    others: list[S | Exception] = []

    def watch(execute: Callable[..., Any], *statement: Any) -> Any:
        nonlocal seen
        if seen == before:
            others.extend(at_once(partial(_impatiently, by)))
        seen += 1
        return execute(*statement)

    try:
        with connection.execute_wrapper(watch):
            result: T | Exception = call()
    except Exception as error:
        result = error
    return result, others[0] if others else None


def _impatiently(call: Callable[[], T]) -> T:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout = 50")
            return call()
        with transaction.atomic():
            cursor.execute("SET LOCAL lock_timeout = 50")
            return call()


@contextmanager
def elsewhere(call: Callable[[], T]) -> Any:
    """Somebody else does `call` in a transaction that stays open as long as the block."""
    done, over = Event(), Event()
    results: list[T | Exception] = []

    def act() -> None:
        try:
            with transaction.atomic():
                results.append(call())
                done.set()
                over.wait(WAIT)
        except Exception as error:
            results.append(error)
        finally:
            done.set()
            connection.close()

    thread = Thread(target=act)
    thread.start()
    assert done.wait(WAIT)
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT)
    for result in results:
        if isinstance(result, Exception):
            raise result
