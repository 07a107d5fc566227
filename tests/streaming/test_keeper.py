"""Whose turns a keeper may end: only of those who are gone, and only if it is well itself."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from streaming.keeper import Keeper
from streaming.stop import Reason

LEASE = 10.0


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class NoTurns:
    """A process in which nothing runs."""

    def ids(self) -> frozenset[UUID]:
        return frozenset()

    def room(self) -> int:
        return 1

    def launch(self, turn_id: UUID, *, attempt: int | None = None) -> None:
        raise AssertionError("there is nothing to launch")

    def stop(self, turn_id: UUID, reason: Reason = Reason.CANCELLED) -> None:
        raise AssertionError("there is nothing to stop")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("streaming.keeper.elapsed", clock)
    return clock


def keeper() -> Keeper:
    return Keeper(uuid4(), NoTurns())


def test_a_keeper_is_well_after_one_whole_lease_of_renewals(clock: Clock) -> None:
    mine = keeper()
    well = []
    for _ in range(5):
        mine.note_renewal(LEASE)
        well.append(mine.is_well(LEASE))
        clock.now += 3.0

    assert well == [False, False, False, False, True]


def test_a_renewal_that_had_to_wait_begins_the_lease_anew(clock: Clock) -> None:
    """R10: what made this one wait, a lock or a database that was away, may have made the others wait as well."""
    mine = keeper()
    for _ in range(10):
        mine.note_renewal(LEASE)
        clock.now += 3.0
    assert mine.is_well(LEASE)

    clock.now += 8.5
    mine.note_renewal(LEASE)

    assert not mine.is_well(LEASE)
