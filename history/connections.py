"""The database connections of the threads that must go on whatever happens to the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections

AWAY = (OperationalError, InterfaceError)
"""What queries raise when the database is away or a lock is held: they may be tried again."""


@contextmanager
def own_connection() -> Iterator[None]:
    """Around all that a thread does: its connection comes from no pool, so that nobody else's requests are in front of
    it when it needs a new one; and it is watched, and closed at the end."""
    pooled = connections[DEFAULT_DB_ALIAS]
    own = pooled.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    connections[DEFAULT_DB_ALIAS] = own
    try:
        with own.execute_wrapper(partial(_watch, pooled)):
            yield
    finally:
        connections[DEFAULT_DB_ALIAS] = pooled
        with suppress(*AWAY):
            own.close()


def reconnect() -> None:
    """Close this thread's connection if it does not work any more: the next query gets another. That a lock was held
    is no reason to."""
    with suppress(*AWAY):
        if not connection.is_usable():
            connection.close()


def _watch(pooled: Any, execute: Callable[..., Any], *statement: Any) -> Any:
    """When a connection is lost, those that wait in the pool were lost as well. The pool finds that out only one by
    one, as it hands them out, and sleeps twice as long after each. So it is told to look at all of them."""
    try:
        return execute(*statement)
    except AWAY:
        pool = getattr(pooled, "pool", None)
        if pool is not None and not pool.closed and getattr(connection.connection, "closed", True):
            pool.check()
        raise
