"""The events of a conversation or a turn as the admin tells them: in order, newest last, as many as fit a page."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.utils.safestring import SafeString

from history.admin_display import excerpt, moment, pretty
from history.models import Event

MOST = 200
LINE = 300
JSON = 4_000


class Row(NamedTuple):
    """One event. `data` is cut after `JSON` characters; the event's own page has all of it."""

    id: int
    seq: int
    kind: str
    turn_id: UUID | None
    at: str
    line: str
    data: SafeString


class Timeline(NamedTuple):
    """The newest events. `shortened`: there are older ones."""

    rows: tuple[Row, ...]
    shortened: bool


def timeline(events: QuerySet[Event]) -> Timeline:
    """The newest `MOST` of these events of one conversation, in one query."""
    newest = list(events.order_by("-seq")[: MOST + 1])
    return Timeline(tuple(_row(event) for event in reversed(newest[:MOST])), len(newest) > MOST)


def _row(event: Event) -> Row:
    return Row(
        id=event.pk,
        seq=event.seq,
        kind=event.kind,
        turn_id=event.turn_id,
        at=moment(event.at),
        line=excerpt(event.data, limit=LINE),
        data=pretty(event.data, limit=JSON),
    )
