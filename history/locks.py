"""Transactions that neither wait for a lock for ever nor hold one for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InternalError, OperationalError, connection, transaction

IDLE = 5.0
"""Seconds that a transaction may stand still between two statements: its process sleeps, or is out of reach, and what
it holds is wanted by others."""


@contextmanager
def transaction_within(seconds: float | None) -> Iterator[None]:
    """A transaction in which no statement waits longer than `seconds` for a lock, and that the database ends if it
    stands still: past either, `OperationalError`.

    On PostgreSQL; SQLite has one lock for all, and the time-out of its connection. None: no bound for locks.
    """
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                _bound(idle=IDLE, lock=seconds)
            yield
    except InternalError as error:  # PostgreSQL's word for a transaction that stood still; the connection is gone, too
        raise OperationalError("the transaction was ended by the database") from error


def _bound(*, idle: float, lock: float | None) -> None:
    """In one statement, and for this transaction alone: another's may come on the same connection of a pooler."""
    bounds = {"idle_in_transaction_session_timeout": idle} | ({} if lock is None else {"lock_timeout": lock})
    calls = ", ".join(f"set_config('{name}', '{int(value * 1000)}', true)" for name, value in bounds.items())
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}")
