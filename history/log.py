"""The log: the only writer of events, and their reader.

Whoever appends holds the conversation's row lock (`no_key`, so that inserts that only reference the row are not
blocked) from numbering to commit; that is why numbers have no holes and readers never see 7 before 6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec
from django.db.models import OuterRef, Q, Subquery, UUIDField
from django.db.models.functions import Now

from history.committed import Committed, Entry, tell
from history.errors import NotFound
from history.events import DRAFT_ENDING, KINDS, EventData, Kind, UserMessage
from history.locks import transaction_within
from history.models import Conversation, Event
from history.prepared import Insert, Row, Select, Update, given

if TYPE_CHECKING:
    from history.calls import Call


def _to_append(which: Q) -> Select:
    """Lock the conversation for which this holds, and see who asked last in it: none can follow before the caller does,
    if the caller holds the lock on the owner's row as well."""
    messages = Event.objects.filter(conversation_id=OuterRef("pk"), kind=Kind.USER_MESSAGE).order_by("-seq")
    asked = Subquery(messages.values("turn_id")[:1], output_field=UUIDField())
    return Select(
        lambda: (
            Conversation.objects.filter(which, pk=given(Conversation, "id"))
            .select_for_update(no_key=True)
            .values_list("pk", "last_seq", "title", "ephemeral", Now(), asked)
        )
    )


_ANYBODYS = _to_append(Q())
_OWNERS = _to_append(Q(owner_id=given(Conversation, "owner")))
_ADD = Insert(Event, told=["at"])
_MOVE_UP = Update(
    lambda: Conversation.objects.filter(pk=given(Conversation, "id")),
    last_seq=given(Conversation, "last_seq"),
    title=given(Conversation, "title"),
    ephemeral=given(Conversation, "ephemeral"),
    updated_at=given(Conversation, "updated_at"),
)


FEW = 6
"""Events that are stored one by one, with a statement that is put together already."""


class Appending:
    """A locked conversation: numbers events, remembers them for the commit. `asked` is the turn that was asked last."""

    def __init__(
        self,
        conversation_id: UUID,
        *,
        last_seq: int,
        title: str,
        now: datetime,
        asked: UUID | None = None,
        ephemeral: bool = False,
    ) -> None:
        self.conversation_id = conversation_id
        self.last_seq = last_seq
        self.title = title
        self.ephemeral = ephemeral
        self.now = now
        self.asked = asked
        self.status: tuple[UUID, str] | None = None
        self.rows: list[Event] = []
        self.calls: list[Call] = []
        """Those that are told of."""

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
    with transaction_within(lock_timeout), _locked(_ANYBODYS.first(id=conversation_id)) as held:
        yield held


def appending_for(conversation_id: UUID, *, owner_id: Any) -> AbstractContextManager[Appending]:
    """The same in the caller's transaction. Raises `NotFound` also if the conversation is somebody else's."""
    return _locked(_OWNERS.first(id=conversation_id, owner=owner_id))


def _add(rows: list[Event]) -> None:
    if len(rows) > FEW:
        Event.objects.bulk_create(rows)
        return
    for event in rows:
        _ADD.run(event)


@contextmanager
def appending_to(conversation_ids: Collection[UUID], *, lock_timeout: float) -> Iterator[Mapping[UUID, Appending]]:
    """The same for many at once, by their ids: without those that are gone, and those that somebody has locked."""
    with transaction_within(lock_timeout):
        rows = Conversation.objects.filter(pk__in=conversation_ids).select_for_update(no_key=True, skip_locked=True)
        found = rows.values_list("pk", "last_seq", "title", "ephemeral", Now())
        held = {row[0]: _held(*row) for row in found}
        yield held
        Event.objects.bulk_create([event for each in held.values() for event in each.rows])
        for each in held.values():
            _close(each)


def _held(
    conversation_id: UUID, last_seq: int, title: str, ephemeral: bool, now: datetime, asked: UUID | None = None
) -> Appending:
    return Appending(conversation_id, last_seq=last_seq, title=title, now=now, asked=asked, ephemeral=ephemeral)


@contextmanager
def _locked(row: Row | None) -> Iterator[Appending]:
    """Events, and a title that was set, are written when the block ends."""
    if row is None:
        raise NotFound
    held = _held(*row)
    yield held
    _add(held.rows)
    _close(held)


def _close(held: Appending) -> None:
    """The conversation goes on after what has been added to it, and listeners are told on commit."""
    if held.rows:
        _MOVE_UP.run(
            id=held.conversation_id,
            last_seq=held.last_seq,
            title=held.title,
            ephemeral=held.ephemeral,
            updated_at=held.now,
        )
    turn_id, status = held.status or (None, None)
    if held.rows or status:
        tell(
            Committed(
                held.conversation_id,
                last_seq=held.last_seq,
                turn_id=turn_id or (held.rows[-1].turn_id if held.rows else None),
                status=status,
                entries=held.entries(),
                calls=tuple(held.calls),
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


def stretch(
    conversation_id: UUID,
    *,
    after: int = 0,
    before: int | None = None,
    kinds: Collection[str] = (),
    newest_first: bool = False,
    limit: int = 100,
) -> tuple[Entry, ...]:
    """Events between two numbers (neither included), of these kinds or of all, from the oldest or the newest on.

    Each kind is sought in the index by itself: a page costs the same wherever it lies, however rare the kinds are.
    """
    order = "-seq" if newest_first else "seq"
    rows = events_of(conversation_id).filter(seq__gt=after).order_by(order)
    if before is not None:
        rows = rows.filter(seq__lt=before)
    if kinds:
        numbers = [seq for kind in kinds for seq in rows.filter(kind=kind).values_list("seq", flat=True)[:limit]]
        found = sorted(numbers, reverse=newest_first)[:limit]
        rows = events_of(conversation_id).filter(seq__in=found).order_by(order)  # by number: no range beside it
    return tuple(Entry(*row) for row in rows[:limit].values_list("seq", "kind", "turn_id", "at", "data"))


def position(conversation_id: UUID) -> int:
    """The number of the newest event; 0 if there is none. Raises `NotFound`."""
    last_seq = Conversation.objects.filter(pk=conversation_id).values_list("last_seq", flat=True).first()
    if last_seq is None:
        raise NotFound
    return last_seq


def events_of(conversation_id: UUID):  # type: ignore[no-untyped-def]
    """All events of a conversation, as a query."""
    return Event.objects.filter(conversation_id=conversation_id)
