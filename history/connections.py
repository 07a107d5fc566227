"""The database connections of the threads that must go on whatever happens to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import InterfaceError, OperationalError, connection

AWAY = (OperationalError, InterfaceError)
"""What queries raise when the database is away or a lock is held: they may be tried again."""


@contextmanager
def own_connection() -> Iterator[None]:
    """Around all that a thread does: its connection is watched, and closed at the end.

    When one is lost, those that wait in the pool were lost with it. The pool finds that out only one by one, as it
    hands them out, and sleeps twice as long after each. So it is told to look at all of them.
    """
    with connection.execute_wrapper(_watch):
        try:
            yield
        finally:
            reconnect()


def reconnect() -> None:
    """Close this thread's connection; the next query gets another."""
    with suppress(*AWAY):
        connection.close()


def _watch(execute: Callable[..., Any], *statement: Any) -> Any:
    try:
        return execute(*statement)
    except AWAY:
        pool = getattr(connection, "pool", None)
        if pool is not None and getattr(connection.connection, "closed", True):
            pool.check()
        raise
