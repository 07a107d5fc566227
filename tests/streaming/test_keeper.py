"""What a keeper does in a round: whose turns it renews, stops, launches, takes over and ends, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Semaphore
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models.functions import Now

from history import titles
from history.errors import NotFound
from history.models import Conversation, DeltaBatch, Event, Turn
from llm.types import ToolSpec
from streaming.keeper import LATE, SWEEP, Keeper
from streaming.stop import Reason

LEASE = 10.0
LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
WAIT = 20.0
"""Seconds after which a turn that should have begun is taken for forgotten."""


class Clock:
    """A clock that the test sets; to look at it takes a `step`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Process:
    """What runs in a process, as the test says it, and what its keeper asks of it. To begin a turn takes a while."""

    def __init__(self, clock: Clock, *, slowly: float = 0.0) -> None:
        self.awake = True
        self.expected: set[UUID] = set()
        self.tasks: set[UUID] = set()
        self.left: set[UUID] = set()
        self.launched: dict[UUID, int | None] = {}
        self.stopped: list[tuple[UUID, Reason]] = []
        self._clock = clock
        self._slowly = slowly
        self._begun = Semaphore(0)

    def has_launched(self, turns: int) -> bool:
        """Whether so many turns begin, sooner or later."""
        return all(self._begun.acquire(timeout=WAIT) for _ in range(turns))

    def is_awake(self) -> bool:
        return self.awake

    def renewed(self, began: float) -> None:
        """What that means is `streaming.pulse`'s."""

    def ids(self) -> frozenset[UUID]:
        return frozenset(self.expected | self.tasks)

    def running(self) -> frozenset[UUID]:
        return frozenset(self.tasks)

    def has_left(self, turn_id: UUID) -> bool:
        return turn_id in self.left

    def room(self) -> int:
        return 1_000 - len(self.tasks)

    def specs(self) -> tuple[ToolSpec, ...]:
        return ()

    def launch(self, turn_id: UUID, *, attempt: int | None = None) -> None:
        self.launched[turn_id] = attempt
        self.tasks.add(turn_id)
        self._clock.now += self._slowly
        self._begun.release()

    def stop(self, turn_id: UUID, reason: Reason = Reason.CANCELLED) -> None:
        self.stopped.append((turn_id, reason))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("streaming.keeper.elapsed", clock)
    return clock


@pytest.fixture
def process(clock: Clock) -> Process:
    return Process(clock)


@pytest.fixture
def mine(process: Process) -> Keeper:
    return Keeper(uuid4(), process)


def running(user: User, **fields: Any) -> Turn:
    """A turn of a process that is gone, in a conversation of its own."""
    fields = {"status": "running", "attempt": 1, "engine": uuid4(), "lease_expires_at": LONG_AGO, **fields}
    return Turn.objects.create(conversation=Conversation.objects.create(owner=user), owner=user, **fields)


def broken(user: User) -> Turn:
    """One that was released, and with which nothing can be done."""
    turn = running(user, status="stopping", engine=None)
    data = {"hop": "?"}
    Event.objects.create(conversation_id=turn.conversation_id, seq=1, turn=turn, kind="assistant_message", data=data)
    return turn


def get_well(mine: Keeper, clock: Clock) -> None:
    """Rounds, one after the other, until the keeper looks after others."""
    mine.round()
    while not mine.is_well(LEASE):
        clock.now += mine.pause()
        mine.round()


def test_a_keeper_is_well_after_one_whole_lease_of_renewals(clock: Clock, mine: Keeper) -> None:
    well = []
    for _ in range(5):
        mine.note_renewal(LEASE)
        well.append(mine.is_well(LEASE))
        clock.now += 3.0

    assert well == [False, False, False, False, True]


def test_a_renewal_that_had_to_wait_begins_the_lease_anew(clock: Clock, mine: Keeper) -> None:
    """R10: what made this one wait, a lock or a database that was away, may have made the others wait as well."""
    for _ in range(10):
        mine.note_renewal(LEASE)
        clock.now += 3.0
    assert mine.is_well(LEASE)

    clock.now += 8.5
    mine.note_renewal(LEASE)

    assert not mine.is_well(LEASE)


@pytest.mark.django_db
def test_many_turns_to_take_over_make_no_renewal_late(user: User, clock: Clock) -> None:
    """R10. Each take-over takes a second, of which a round has three."""
    turns = {running(user).pk for _ in range(12)}
    process = Process(clock, slowly=1.0)
    mine = Keeper(uuid4(), process)
    get_well(mine, clock)
    well_at = clock.now - len(process.launched)

    while process.launched.keys() < turns:
        clock.now += mine.pause()
        mine.round()
    took = clock.now - well_at
    clock.now += mine.pause()
    mine.round()

    assert process.launched == dict.fromkeys(turns, 2)
    assert took == len(turns)
    assert mine.is_well(LEASE)


@pytest.mark.django_db(transaction=True)
def test_a_round_that_took_its_time_is_followed_by_the_next_at_once(user: User, clock: Clock, settings: Any) -> None:
    settings.CHAT = {**settings.CHAT, "LEASE": 1_800.0, "LEASE_RENEWAL": 600.0}
    for _ in range(3):
        running(user, engine=None)
    process = Process(clock, slowly=600.0)
    mine = Keeper(uuid4(), process)

    mine.start()
    all_begun = process.has_launched(3)
    mine.stop()

    assert all_begun


@pytest.mark.django_db
def test_turns_with_which_nothing_can_be_done_keep_nobody_from_the_others(
    user: User, clock: Clock, mine: Keeper, process: Process
) -> None:
    """Though each round has time for one or two, and they have waited longest."""
    for _ in range(4):
        broken(user)
    released = running(user, engine=None, lease_expires_at=FAR)
    clock.step = 1.0

    for _ in range(5):
        mine.round()

    assert process.launched == {released.pk: 2}


@pytest.mark.django_db
def test_a_turn_whose_commit_is_on_its_way_is_not_stopped_however_soon_the_rounds_follow(
    mine: Keeper, process: Process
) -> None:
    """Nobody can see it yet, which is not to say that it is lost."""
    process.expected.add(uuid4())

    mine.round()
    mine.round()

    assert process.stopped == []


@pytest.mark.django_db
def test_what_runs_and_is_somebody_elses_or_gone_is_stopped(user: User, mine: Keeper, process: Process) -> None:
    """R10."""
    process.tasks = {running(user, lease_expires_at=FAR).pk, uuid4()}

    mine.round()
    mine.round()

    assert sorted(process.stopped) == [(turn_id, Reason.INTERRUPTED) for turn_id in sorted(process.tasks)]


@pytest.mark.django_db
@pytest.mark.parametrize("losses", [0, 1])
def test_a_turn_of_ours_that_never_had_a_task_only_has_to_begin(user: User, clock: Clock, losses: int) -> None:
    """It was made, or taken over, in a commit that was made without our hearing of it."""
    process = Process(clock)
    engine = uuid4()
    turn = running(user, engine=engine, attempt=2, losses=losses, lease_expires_at=FAR)

    Keeper(engine, process).round()

    assert process.launched == {turn.pk: 2}
    assert Turn.objects.values_list("status", "attempt", "losses").get() == ("running", 2, losses)
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_a_turn_of_ours_whose_task_could_not_end_it_is_a_loss(user: User, clock: Clock) -> None:
    process = Process(clock)
    engine = uuid4()
    turn = running(user, engine=engine, lease_expires_at=FAR)
    process.left = {turn.pk}

    Keeper(engine, process).round()

    assert process.launched == {turn.pk: 2}
    assert Turn.objects.values_list("attempt", "losses").get() == (2, 1)


@pytest.mark.django_db
def test_a_process_whose_loop_stands_still_neither_keeps_turns_nor_takes_any(user: User, clock: Clock) -> None:
    """No stuck turn: what it keeps waiting is for others."""
    process = Process(clock)
    engine = uuid4()
    own, released = running(user, engine=engine), running(user, engine=None)
    process.tasks, process.awake = {own.pk}, False
    mine = Keeper(engine, process)

    mine.round()

    assert Turn.objects.get(pk=own.pk).lease_expires_at == LONG_AGO
    process.awake = True
    mine.round()
    assert Turn.objects.filter(pk=own.pk, lease_expires_at__gt=Now()).exists()
    assert process.launched == {released.pk: 2}


@pytest.mark.django_db
def test_a_turn_that_was_released_is_taken_at_once_by_whoever_is_well_or_not(
    user: User, clock: Clock, mine: Keeper, process: Process
) -> None:
    """R20: with most of a lease left, which keeps the version before from ending it."""
    first = running(user, engine=None, lease_expires_at=FAR)
    mine.round()
    get_well(mine, clock)
    second = running(user, engine=None, lease_expires_at=FAR)

    mine.round()

    assert process.launched == {first.pk: 2, second.pk: 2}
    assert set(Turn.objects.values_list("losses", flat=True)) == {0}


@pytest.mark.django_db
def test_what_nobody_will_come_for_is_looked_for_now_and_then(clock: Clock, mine: Keeper) -> None:
    def orphan() -> None:
        DeltaBatch.objects.create(turn_id=uuid4(), attempt=1, hop=0, start=0, text="a", runs=[["text", 1]])
        DeltaBatch.objects.update(at=LONG_AGO)

    orphan()
    get_well(mine, clock)
    swept = DeltaBatch.objects.count()
    orphan()
    mine.round()
    left = DeltaBatch.objects.count()
    clock.now += SWEEP
    get_well(mine, clock)

    assert (swept, left, DeltaBatch.objects.count()) == (0, 1, 0)


@pytest.mark.django_db
def test_what_a_process_stores_of_a_turn_that_it_has_lost_does_not_outlast_the_turn(
    user: User, clock: Clock, mine: Keeper
) -> None:
    """R10, R19: it stood still in the transaction, and was killed before it heard that the turn was over."""
    over, goes_on = running(user, status="stopping"), running(user)
    get_well(mine, clock)
    for turn in (over, goes_on):
        DeltaBatch.objects.create(turn_id=turn.pk, attempt=1, hop=0, start=0, text="a", runs=[["text", 1]])
    mine.round()
    before = DeltaBatch.objects.count()

    clock.now += LATE
    mine.round()

    assert before == 2
    assert list(DeltaBatch.objects.values_list("turn_id", flat=True)) == [goes_on.pk]


def untitled(user: User, number: int) -> UUID:
    """A conversation for which a title was asked for by a process that is gone, the lower the number the earlier."""
    since = LONG_AGO + timedelta(seconds=number)
    return Conversation.objects.create(owner=user, is_titled=True, titling_since=since).pk


@pytest.mark.django_db
def test_a_lost_title_with_which_nothing_can_be_done_keeps_back_neither_the_others_nor_the_round(
    user: User, clock: Clock, mine: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, locked, strange, other = (untitled(user, number) for number in range(4))
    failures = {deleted: NotFound(), locked: OperationalError("locked"), strange: ValueError("a bug")}
    settle = titles.settle

    def fails(conversation_id: UUID, **what: Any) -> None:
        if conversation_id in failures:
            raise failures[conversation_id]
        settle(conversation_id, **what)

    monkeypatch.setattr(titles, "settle", fails)

    get_well(mine, clock)

    left = Conversation.objects.filter(titling_since__isnull=False).values_list("pk", flat=True)
    assert set(left) == {deleted, locked, strange}
    assert Event.objects.get(kind="completion_log").conversation_id == other


@pytest.mark.django_db
def test_many_lost_titles_make_no_renewal_late(
    user: User, clock: Clock, mine: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R10. Each takes two seconds, of which a round has three; the earliest come first."""
    waiting = [untitled(user, number) for number in range(3)]
    settled: list[UUID] = []

    def slowly(conversation_id: UUID, **_: Any) -> None:
        settled.append(conversation_id)
        clock.now += 2.0

    monkeypatch.setattr(titles, "settle", slowly)

    get_well(mine, clock)

    assert settled == waiting[:2]
