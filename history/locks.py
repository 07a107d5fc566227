"""Transactions that do not wait for a lock for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def transaction_within(seconds: float | None) -> Iterator[None]:
    """A transaction in which no statement waits longer than `seconds` for a lock: past it, `OperationalError`.

    On PostgreSQL; SQLite has one lock for all, and the time-out of its connection. None: no bound.
    """
    with transaction.atomic():
        if seconds is not None and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")
        yield
