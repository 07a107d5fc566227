"""Transactions whose process stands still, or that meet one that does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from history import compaction, locks, status
from history.connections import own_connection, reconnect
from history.log import appending
from tests.history.stage import WAIT, at_once, elsewhere, kinds, running, said

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_transaction_that_stands_still_lets_go_of_what_others_wait_for(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R10: its process sleeps, or is out of reach. When it is back, it may try again."""
    if connection.vendor == "sqlite":  # has no server that could end it
        return
    monkeypatch.setattr(locks, "IDLE", 0.3)
    place = running(user)

    def somebody_else() -> None:
        with appending(place.conversation_id, lock_timeout=WAIT) as log:
            status.fence(place.turn_id, attempt=place.attempt)
            log.append(place.turn_id, said("theirs"))

    def sleep_in_the_middle() -> None:
        with appending(place.conversation_id, lock_timeout=WAIT):
            status.fence(place.turn_id, attempt=place.attempt)
            monkeypatch.undo()  # others have more time
            others.extend(at_once(somebody_else))
            status.fence(place.turn_id, attempt=place.attempt)

    others: list[object] = []
    with pytest.raises(OperationalError):
        sleep_in_the_middle()
    compaction.end_hop(place, said("ours", hop=1, calls=1))

    assert others == [None]
    assert kinds(place.conversation_id) == ["user_message", "assistant_message", "assistant_message"]


def test_renewing_holds_no_turn_for_long(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """All turns of a process are locked in it: they would be kept from everybody."""
    if connection.vendor == "sqlite":  # has no such bound
        return
    monkeypatch.setattr(locks, "IDLE", 7.0)
    place = running(user)
    seen: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if sql.startswith("UPDATE"):
            with connection.connection.cursor() as cursor:
                seen.extend(cursor.execute("SHOW idle_in_transaction_session_timeout").fetchone())
        return result

    with connection.execute_wrapper(watch):
        status.renew([place.turn_id], engine=place.turn_id, lease=60.0)

    assert seen == ["7s"]


def test_a_thread_with_a_connection_of_its_own_waits_for_nobody_elses(user: User) -> None:
    """However many requests have all that are shared."""
    place = running(user)
    pool: Any = getattr(connection, "pool", None)

    def work() -> None:
        with own_connection():
            compaction.end_hop(place, said("stored", calls=1))

    taken = [] if pool is None else [pool.getconn() for _ in range(pool.max_size - 1)]  # one is this test's
    try:
        results = at_once(work)
    finally:
        for each in taken:
            pool.putconn(each)

    assert results == [None]
    assert kinds(place.conversation_id) == ["user_message", "assistant_message"]


def test_a_lock_that_was_held_costs_no_connection_and_one_that_is_lost_is_replaced(user: User) -> None:
    if connection.vendor == "sqlite":  # has one lock for all
        return
    place = running(user)

    def work() -> tuple[int, int, int]:
        with own_connection():
            first = backend()
            with pytest.raises(OperationalError):
                compaction.end_hop(place, said("x", calls=1))
            reconnect()
            second = backend()
            with pytest.raises(OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            reconnect()
            return first, second, backend()

    with elsewhere(partial(status.fence, place.turn_id, attempt=place.attempt)):
        ((first, second, third),) = at_once(work)  # type: ignore[misc]

    assert first == second != third


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return int(pid)
