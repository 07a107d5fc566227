"""The log: the only writer of events, and their reader.

Whoever appends holds the conversation's row lock (`no_key`, so that inserts that only reference the row are not
blocked) from numbering to commit; that is why numbers have no holes and readers never see 7 before 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db.models.functions import Now

from history.committed import Committed, Entry, tell
from history.errors import NotFound
from history.events import DRAFT_ENDING, KINDS, EventData, UserMessage
from history.locks import transaction_within
from history.models import Conversation, Event


class Appending:
    """A locked conversation: numbers events, remembers them for the commit."""

    def __init__(self, conversation_id: UUID, *, last_seq: int, now: datetime) -> None:
        self.conversation_id = conversation_id
        self.last_seq = last_seq
        self.now = now
        self.status: tuple[UUID, str] | None = None
        self.rows: list[Event] = []

    def append(self, turn_id: UUID | None, data: EventData) -> int:
        """Give `data` the next number and return that."""
        self.last_seq += 1
        self.rows.append(
            Event(
                conversation_id=self.conversation_id,
                seq=self.last_seq,
                kind=KINDS[type(data)].value,
                turn_id=turn_id,
                hop=getattr(data, "hop", None),
                index=getattr(data, "index", None),
                model="" if isinstance(data, UserMessage) else getattr(data, "model", ""),
                data=msgspec.json.decode(msgspec.json.encode(data)),  # lists, not tuples: just as it will be read
                at=self.now,
            )
        )
        return self.last_seq

    def entries(self) -> tuple[Entry, ...]:
        """What was appended, as readers will get it."""
        return tuple(Entry(row.seq, row.kind, row.turn_id, row.at, row.data) for row in self.rows)


@contextmanager
def appending(conversation_id: UUID, *, lock_timeout: float | None = None) -> Iterator[Appending]:
    """Lock a conversation and append to it in one transaction; listeners are told on commit.

    `lock_timeout` (seconds) is that of `transaction_within`. Raises `NotFound` if the conversation is gone.
    """
    with transaction_within(lock_timeout):
        row = (
            Conversation.objects.select_for_update(no_key=True)
            .filter(pk=conversation_id)
            .values_list("last_seq", Now())
            .first()
        )
        if row is None:
            raise NotFound
        held = Appending(conversation_id, last_seq=row[0], now=row[1])
        yield held
        if held.rows:
            Event.objects.bulk_create(held.rows)
            Conversation.objects.filter(pk=conversation_id).update(last_seq=held.last_seq, updated_at=held.now)
        turn_id, status = held.status or (None, None)
        if held.rows or status:
            tell(
                Committed(
                    conversation_id,
                    last_seq=held.last_seq,
                    turn_id=turn_id or (held.rows[-1].turn_id if held.rows else None),
                    status=status,
                    entries=held.entries(),
                )
            )


class Page(NamedTuple):
    """A stretch of the log, in order, and the conversation's newest number at the time of reading.

    `ended` is the newest event at or before the asked position that ended a draft; 0 if there is none.
    """

    entries: tuple[Entry, ...]
    last_seq: int
    ended: int


def read(conversation_id: UUID, *, after: int, limit: int = 500) -> Page:
    """Events past number `after`, at most `limit`. Raises `NotFound` if the conversation is gone."""
    last_seq = position(conversation_id)
    rows = events_of(conversation_id).filter(seq__gt=after).order_by("seq")[:limit]
    ended = events_of(conversation_id).filter(seq__lte=after, kind__in=DRAFT_ENDING).order_by("-seq")
    return Page(
        tuple(Entry(*row) for row in rows.values_list("seq", "kind", "turn_id", "at", "data")),
        last_seq,
        ended.values_list("seq", flat=True).first() or 0,
    )


def read_newest(conversation_id: UUID, *, before: int | None = None, limit: int = 100) -> tuple[Entry, ...]:
    """The newest events (before number `before`), in order."""
    rows = events_of(conversation_id)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    newest = rows.order_by("-seq")[:limit].values_list("seq", "kind", "turn_id", "at", "data")
    return tuple(Entry(*row) for row in reversed(newest))


def position(conversation_id: UUID) -> int:
    """The number of the newest event; 0 if there is none. Raises `NotFound`."""
    last_seq = Conversation.objects.filter(pk=conversation_id).values_list("last_seq", flat=True).first()
    if last_seq is None:
        raise NotFound
    return last_seq


def events_of(conversation_id: UUID):  # type: ignore[no-untyped-def]
    """All events of a conversation, as a query."""
    return Event.objects.filter(conversation_id=conversation_id)
