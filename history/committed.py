"""The one hook of the log: who registers here is told of every change, after its commit, in the thread that made it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db import transaction

if TYPE_CHECKING:
    from history.calls import Call

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """An event as readers get it. `data` is plain JSON, unknown fields included."""

    seq: int
    kind: str
    turn_id: UUID | None
    at: datetime
    data: dict[str, Any]


class Committed(NamedTuple):
    """What has been committed: new `entries` of a conversation, a turn's new `status`, or both.

    `last_seq` is None where nothing was appended; `gone` says that the conversation was deleted. `calls` are the model
    calls of which the entries tell.
    """

    conversation_id: UUID
    last_seq: int | None = None
    turn_id: UUID | None = None
    status: str | None = None
    entries: tuple[Entry, ...] = ()
    gone: bool = False
    calls: tuple[Call, ...] = ()


Listener = Callable[[Committed], None]
listeners: list[Listener] = []


def tell(change: Committed) -> None:
    """Tell the listeners of `change` once the transaction that is open now has committed."""
    transaction.on_commit(partial(_tell_all, change))


def _tell_all(change: Committed) -> None:
    for listener in tuple(listeners):
        try:
            listener(change)
        except Exception:  # a foreign callback must not undo what is committed
            logger.exception("a listener failed on %s", change.conversation_id)
