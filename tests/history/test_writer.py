"""The group-commit writer, on a real database that is really locked, cut off, or asked to store what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from functools import partial
from itertools import pairwise
from threading import Barrier, Semaphore
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from history import compaction
from history.compaction import Place
from history.draft import Draft
from history.events import TurnError
from history.log import appending
from history.models import DeltaBatch
from history.writer import Writer
from tests.history.stage import WAIT, Watched, at_once, batches, elsewhere, engine_of, kinds, running, said

GONE = TurnError(code="internal", message="Something went wrong.")
FAST = 0.01
NEVER = 3600.0
"""An interval after which no test is still there: what happens, happens for another reason."""

pytestmark = pytest.mark.django_db(transaction=True)


class Start(Protocol):
    def __call__(self, *, interval: float, full: int = 1024, patience: float = 60.0) -> Writer: ...


@pytest.fixture
def refused() -> list[Draft]:
    """The drafts that a writer gave up."""
    return []


@pytest.fixture
def start(refused: list[Draft]) -> Iterator[Start]:
    """Starts a writer, which ends with the test."""
    writers: list[Writer] = []

    def start(*, interval: float, full: int = 1024, patience: float = 60.0) -> Writer:
        writer = Writer(interval=interval, full=full, failed=refused.append, patience=patience)
        writer.start()
        writers.append(writer)
        return writer

    yield start
    for writer in writers:
        assert writer.stop(timeout=WAIT)


def text_of(draft: Draft) -> str:
    """What is stored of a draft, joined; each batch begins where the one before it ends."""
    text = ""
    for start, piece in batches(draft.turn_id):
        assert start == len(text)
        assert piece, "an empty row"
        text += piece
    return text


def in_writer(writer: Writer, call: Callable[[], Any]) -> Any:
    return writer.run(call).result(WAIT)


def lock(place: Place) -> Any:
    """Hold a conversation, and with it on SQLite the database, in another thread."""

    def hold() -> None:
        with appending(place.conversation_id):
            pass

    return elsewhere(hold)


def be_impatient() -> None:
    """Do not wait long for SQLite's lock in this thread. On PostgreSQL the writer's jobs see to that themselves."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50")


def fill_the_pool() -> None:
    """Leave many connections in it, which wait to be used again."""
    everybody = Barrier(8)

    def connect() -> None:
        connection.ensure_connection()
        everybody.wait(WAIT)

    assert at_once(*[connect] * 8) == [None] * 8


def cut_off_everybody_else() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_stalled_stream_is_stored_without_another_fragment(user: User, start: Start) -> None:
    """A2.6: by timer. Nothing tells the writer that the draft has grown."""
    writer, draft = start(interval=0.05), Watched(running(user))
    writer.open(draft)
    draft.wait_for_looks(2)

    draft.say("and then it stalled")
    draft.wait_until_stored()

    assert batches(draft.turn_id) == [(0, "and then it stalled")]


def test_a_full_draft_brings_the_tick_forward_and_a_smaller_one_does_not(user: User, start: Start) -> None:
    """A2.3."""
    writer, draft = start(interval=NEVER, full=10), Watched(running(user))
    writer.open(draft)

    draft.say("9 letters")
    writer.grown(draft)
    in_writer(writer, lambda: None)
    too_small = batches(draft.turn_id)
    draft.say("!")
    writer.grown(draft)
    draft.wait_until_stored()

    assert too_small == []
    assert batches(draft.turn_id) == [(0, "9 letters!")]


def test_there_are_no_empty_rows_however_often_it_ticks(user: User, start: Start) -> None:
    """A2.5: neither for silence, nor for arguments, nor at the end."""
    writer = start(interval=FAST)
    silent, arguing, busy = (Watched(running(user)) for _ in range(3))
    for draft in (silent, arguing, busy):
        writer.open(draft)

    arguing.append_arguments(0, '{"a":', name="clock")
    for n in range(5):
        busy.say(str(n))
        busy.wait_until_stored()
        silent.wait_for_looks(1)
    writer.stop(timeout=WAIT)

    assert batches(silent.turn_id) == []
    assert batches(arguing.turn_id) == []
    assert text_of(busy) == "01234"


def test_all_drafts_of_a_tick_are_one_insert(user: User, start: Start) -> None:
    writer = start(interval=NEVER, full=5)
    drafts = [Watched(running(user)) for _ in range(20)]
    statements: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    in_writer(writer, lambda: connection.execute_wrappers.append(watch))
    for n, draft in enumerate(drafts):
        writer.open(draft)
        draft.say(f"nr {n}")
    drafts[0].say("enough")
    writer.grown(drafts[0])
    for draft in drafts:
        draft.wait_until_stored()

    assert [text_of(draft) for draft in drafts] == ["nr 0enough"] + [f"nr {n}" for n in range(1, 20)]
    assert len([sql for sql in statements if sql.startswith("INSERT")]) == 1
    assert len(statements) <= 2, "the transaction and the insert"


def test_a_draft_is_stored_with_its_channels(user: User, start: Start) -> None:
    """A2.4: and says where it belongs."""
    writer, draft = start(interval=NEVER), Watched(running(user), hop=2)
    writer.open(draft)

    draft.append("reasoning", "hm \U0001f914")
    draft.say("yes")
    draft.say("!")
    writer.stop(timeout=WAIT)

    row = DeltaBatch.objects.get()
    assert (row.turn_id, row.attempt, row.hop, row.start) == (draft.turn_id, 1, 2, 0)
    assert row.text == "hm \U0001f914yes!"
    assert row.runs == [["reasoning", 4], ["text", 4]]


def test_jobs_run_in_the_order_they_were_given(start: Start) -> None:
    writer = start(interval=FAST)
    done: list[int] = []

    jobs = [writer.run(partial(done.append, n)) for n in range(50)]
    for job in jobs:
        job.result(WAIT)

    assert done == list(range(50))


def test_a_job_that_fails_tells_who_asked_and_hurts_nobody(start: Start) -> None:
    writer = start(interval=FAST)

    failed: Future[float] = writer.run(lambda: 1 / 0)
    after = writer.run(lambda: "fine")

    assert isinstance(failed.exception(WAIT), ZeroDivisionError)
    assert after.result(WAIT) == "fine"


def test_nobody_can_take_a_job_back(start: Start) -> None:
    writer = start(interval=FAST)
    gate = Semaphore(0)
    writer.run(partial(gate.acquire, timeout=WAIT))
    done: list[str] = []

    job = writer.run(partial(done.append, "written"))
    taken_back = job.cancel()
    gate.release()
    job.result(WAIT)

    assert taken_back is False
    assert done == ["written"]


def test_no_tick_writes_behind_the_end_of_a_hop(user: User, start: Start) -> None:
    """A2.18: whatever the draft still had, and whatever comes to it afterwards."""
    writer, place, other = start(interval=0.001, full=4), running(user), Watched(running(user))
    writer.open(other)

    for hop in range(20):
        draft = Watched(place, hop=hop)
        writer.open(draft)
        for _ in range(5):
            draft.say("word ")
            writer.grown(draft)

        def compact(draft: Watched = draft, hop: int = hop) -> None:
            compaction.end_hop(place, said("word " * 5, hop=hop, calls=1))
            writer.close(draft)

        in_writer(writer, compact)
        draft.say("too late")
        other.say(".")
        other.wait_until_stored()

    assert batches(place.turn_id) == []
    assert text_of(other) == "." * 20
    assert kinds(place.conversation_id) == ["user_message"] + ["assistant_message"] * 20


def test_stopping_writes_what_is_left(user: User, start: Start) -> None:
    """A2.7: text and jobs alike."""
    writer, draft, place = start(interval=NEVER), Watched(running(user)), running(user)
    writer.open(draft)
    draft.say("the last words")

    job = writer.run(partial(compaction.end_hop, place, said("a", calls=1)))
    ended = writer.stop(timeout=WAIT)

    assert ended is True
    assert text_of(draft) == "the last words"
    assert job.done()
    assert kinds(place.conversation_id) == ["user_message", "assistant_message"]


def test_what_is_asked_of_a_writer_that_has_ended_fails_at_once(start: Start) -> None:
    """Nobody waits for ever."""
    writer = start(interval=NEVER)
    writer.stop(timeout=WAIT)

    job = writer.run(lambda: None)

    assert isinstance(job.exception(timeout=0), OperationalError)


def test_what_the_database_refuses_costs_only_the_draft_it_is_in(
    user: User, start: Start, refused: list[Draft]
) -> None:
    """One bad row in a tick for all."""
    writer = start(interval=NEVER, full=10)
    good, bad, other = (Watched(running(user)) for _ in range(3))
    for draft in (good, bad, other):
        writer.open(draft)

    bad.say("half a character: \ud800")
    good.say("good")
    other.say("other and long")
    writer.grown(other)
    good.wait_until_stored()
    other.wait_until_stored()
    good.say(", and goes on for long")
    writer.grown(good)
    good.wait_until_stored()
    writer.stop(timeout=WAIT)

    assert text_of(good) == "good, and goes on for long"
    assert text_of(other) == "other and long"
    assert batches(bad.turn_id) == []
    assert refused == [bad]


def test_the_writer_survives_whoever_is_told_of_a_refused_draft(user: User, caplog: pytest.LogCaptureFixture) -> None:
    def failing(draft: Draft) -> None:
        raise ZeroDivisionError

    writer = Writer(interval=FAST, full=1, failed=failing)
    writer.start()
    bad, good = Watched(running(user)), Watched(running(user))
    bad.say("\ud800")
    writer.open(bad)
    bad.wait_for_looks(1)

    good.say("good")
    writer.open(good)
    good.wait_until_stored()
    ended = writer.stop(timeout=WAIT)

    assert ended is True
    assert text_of(good) == "good"
    assert "ZeroDivisionError" in caplog.text


def test_text_outlasts_a_database_that_is_away(user: User, start: Start) -> None:
    """R19: nothing is lost, nothing is stored twice, and it goes on at once however many connections were lost."""
    writer, place = start(interval=FAST), running(user)
    draft = Watched(place)
    writer.open(draft)
    said_so_far = ""

    for n in range(3):
        in_writer(writer, be_impatient)
        draft.say(f"{n} before, ")
        draft.wait_until_stored()
        if connection.vendor == "sqlite":
            with lock(running(user)):
                draft.say(f"{n} meanwhile, ")
                draft.looks = Semaphore(0)
                draft.wait_for_looks(2)
                assert said_so_far + f"{n} before, " == text_of(draft)
        else:
            fill_the_pool()
            cut_off_everybody_else()
            draft.say(f"{n} meanwhile, ")
        draft.wait_until_stored()
        said_so_far += f"{n} before, {n} meanwhile, "

    assert text_of(draft) == said_so_far


def test_a_job_outlasts_a_database_that_is_away(user: User, start: Start) -> None:
    """R19."""
    writer, place = start(interval=FAST), running(user)
    in_writer(writer, be_impatient)
    tried = Semaphore(0)

    def end_hop() -> None:
        tried.release()
        if connection.vendor == "postgresql" and not ended:
            connection.ensure_connection()
            ended.append("the connection, in the middle of the job")
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        compaction.end_hop(place, said("a", calls=1))

    ended: list[str] = []
    if connection.vendor == "sqlite":
        with lock(running(user)):
            job = writer.run(end_hop)
            assert tried.acquire(timeout=WAIT)
            assert tried.acquire(timeout=WAIT)
            assert not job.done()
    else:
        job = writer.run(end_hop)
    job.result(WAIT)

    assert kinds(place.conversation_id) == ["user_message", "assistant_message"]


def test_a_flush_that_stored_nothing_is_tried_again(user: User, start: Start) -> None:
    """Whoever flushes a draft closes it next."""
    writer, draft = start(interval=FAST), Watched(running(user))
    draft.say("the last words")
    in_writer(writer, be_impatient)
    tried = Semaphore(0)
    lost: list[str] = []

    def flush_and_close() -> None:
        if connection.vendor == "postgresql" and not lost:
            lost.append("the connection")
            with suppress(OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        tried.release()
        writer.open(draft)
        writer.flush()
        writer.close(draft)

    with lock(running(user)) if connection.vendor == "sqlite" else nullcontext():
        job = writer.run(flush_and_close)
        assert tried.acquire(timeout=WAIT)
        assert tried.acquire(timeout=WAIT)
    job.result(WAIT)

    assert batches(draft.turn_id) == [(0, "the last words")]


def test_a_job_is_given_up_when_its_time_is_over(user: User, start: Start) -> None:
    writer, place = start(interval=FAST, patience=0.0), running(user)
    in_writer(writer, be_impatient)

    with lock(place):
        job = writer.run(partial(compaction.end_hop, place, said("a", calls=1)))
        error = job.exception(WAIT)
    after = writer.run(partial(compaction.end_hop, place, said("b", calls=1)))

    assert isinstance(error, OperationalError)
    assert after.exception(WAIT) is None
    assert kinds(place.conversation_id) == ["user_message", "assistant_message"]


def test_a_locked_conversation_holds_up_nobody_else(user: User, start: Start) -> None:
    """Jobs wait for a lock for a moment only; then come the tick and everybody else's jobs."""
    if connection.vendor == "sqlite":  # has one lock for all
        return
    writer = start(interval=FAST)
    first, second, place, draft = running(user), running(user), running(user), Watched(running(user))
    writer.open(draft)

    with lock(first), lock(second):
        waiting = [
            writer.run(partial(compaction.end_hop, first, said("a", calls=1))),
            writer.run(partial(compaction.end_broken, second.turn_id, engine=engine_of(second), error=GONE)),
        ]
        for n in range(3):
            draft.say(f"{n} ")
            draft.wait_until_stored()
            in_writer(writer, partial(compaction.end_hop, place, said("a", hop=n, calls=1)))
        assert not any(job.done() for job in waiting)
    for job in waiting:
        job.result(WAIT)

    assert text_of(draft) == "0 1 2 "
    assert kinds(place.conversation_id) == ["user_message"] + ["assistant_message"] * 3
    assert kinds(first.conversation_id)[-1] == "assistant_message"
    assert kinds(second.conversation_id)[-1] == "turn_ended"


def test_a_tick_waits_for_one_locked_conversation_at_most(user: User, start: Start) -> None:
    writer, draft, locked = start(interval=FAST), Watched(running(user)), running(user)
    order: list[str] = []
    tried = Semaphore(0)

    def write(hop: int) -> None:
        order.append("job")
        tried.release()
        be_impatient()
        compaction.end_hop(locked, said("a", hop=hop, calls=1))

    draft.looked = partial(order.append, "tick")
    writer.open(draft)
    with lock(locked):
        jobs = [writer.run(partial(write, hop)) for hop in range(3)]
        for _ in range(7):
            assert tried.acquire(timeout=WAIT)
        under_lock = tuple(order)
    for job in jobs:
        job.result(WAIT)

    assert all("tick" in pair for pair in pairwise(under_lock)), under_lock
    assert kinds(locked.conversation_id) == ["user_message"] + ["assistant_message"] * 3


def test_a_stretch_that_was_stored_unheard_and_has_grown_since_is_stored_whole(user: User, start: Start) -> None:
    """R19: the commit went through, its answer did not; the next try finds the row and must not leave it short."""
    place = running(user)
    unheard, again = Watched(place), Watched(place)
    unheard.say("what was stored ")
    first = start(interval=NEVER)
    first.open(unheard)
    first.stop(timeout=WAIT)

    again.say("what was stored ")
    again.append("reasoning", "and what came since")
    second = start(interval=NEVER, full=1)
    second.open(again)
    second.grown(again)
    again.wait_until_stored()
    again.say(", and later")
    second.stop(timeout=WAIT)

    assert text_of(again) == "what was stored and what came since, and later"
    assert [row.runs for row in DeltaBatch.objects.order_by("start")] == [
        [["text", 16], ["reasoning", 19]],
        [["text", 11]],
    ]
