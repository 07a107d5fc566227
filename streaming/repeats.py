"""Recognising a request that was made before: by its id, by the position it wants to go on from, by what it says.

All of it happens under the user's row lock, so that of two equal requests at once the second sees the first's turn.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from access.principals import Principal
from history.models import ACTIVE, Event, Turn
from history.prepared import Select, given
from streaming.cursor import Cursor, parse
from streaming.errors import InvalidCursor, RequestConflict
from streaming.orders import Order

AFTER_RESTART = timedelta(seconds=60)
"""How long after its end a turn that was restarted is still found by what it was asked."""


RECENT = timedelta(days=1)
"""How old a turn may be that is found by what it was asked."""


_OF_REQUEST = Select(
    lambda: Turn.objects.filter(owner_id=given(Turn, "owner"), request_id=given(Turn, "request_id")).values_list("pk")
)


class Position(NamedTuple):
    """A place in one turn's answer."""

    turn_id: UUID
    cursor: Cursor

    def __str__(self) -> str:
        return f"{self.turn_id}:{self.cursor}"


class Again(NamedTuple):
    """How a repeated request may be told beside its request id.

    `position` is where the caller's last connection broke off. `by_content` finds an active turn that was asked the
    very same: for people in a browser, never for a key, which may serve many.
    """

    position: Position | None = None
    by_content: bool = False


class Earlier(NamedTuple):
    """The turn that a request has got already. `begin` is just before its events, `resume` where the caller was."""

    turn: Turn
    begin: Cursor
    resume: Cursor | None


def position_in(last_event_id: str) -> Position | None:
    """What `Last-Event-ID` says, `<turn>:<cursor>`; None for whatever is not ours."""
    turn_id, _, cursor = last_event_id.partition(":")
    try:
        return Position(UUID(turn_id), parse(cursor))
    except (ValueError, InvalidCursor):
        return None


def earlier(principal: Principal, conversation_id: UUID | None, order: Order, *, again: Again) -> Earlier | None:
    """The turn of the request, if it was made before; asked before every check that could refuse it.

    Raises `RequestConflict` if its id was used for something else.
    """
    if order.request_id is not None:
        row = _OF_REQUEST.first(owner=principal.user_id, request_id=order.request_id)
        if row is None:
            return None
        turn = _alike(principal, conversation_id, order).filter(pk=row[0]).first()
        if turn is None:
            raise RequestConflict
    else:
        turn = _shown(_alike(principal, conversation_id, order), again=again)
        if turn is None:
            return None
    begin = begin_of(turn)
    position = again.position
    resumes = position is not None and position.turn_id == turn.pk
    return Earlier(turn, begin, max(position.cursor, begin) if position and resumes else None)


def _alike(principal: Principal, conversation_id: UUID | None, order: Order) -> QuerySet[Turn]:
    """The caller's turns that were asked the same: in this conversation; without one, those that opened theirs, perhaps
    with what had been said elsewhere."""
    turns = Turn.objects.filter(owner_id=principal.user_id, fingerprint=order.fingerprint())
    if conversation_id is not None:
        return turns.filter(conversation_id=conversation_id)
    opened = Q(Exists(Event.objects.filter(turn=OuterRef("pk"), seq=1)))
    return turns.filter(opened | Q(parent__origin=Turn.Origin.IMPORTED, replaces=None))


def _shown(turns: QuerySet[Turn], *, again: Again) -> Turn | None:
    """The turn that the caller was shown, or the newest that was asked the same and may still be shown."""
    found = turns.filter(pk=again.position.turn_id).first() if again.position is not None else None
    if found is None and again.by_content:
        restarted = Q(attempt__gt=1, ended_at__gt=Now() - AFTER_RESTART)
        recent = turns.filter(created_at__gt=Now() - RECENT)  # so that of many turns the newest are enough to look at
        found = recent.filter(Q(status__in=ACTIVE) | restarted).order_by("-created_at").first()
    return found


def begin_of(turn: Turn) -> Cursor:
    """Just before the turn's own events; at seq 0 the turn opened its conversation."""
    first = _events_of(turn).order_by("seq").values_list("seq", flat=True).first()
    return Cursor((first or 1) - 1)


def end_of(turn: Turn) -> Cursor:
    """Just after the turn's last event."""
    return Cursor(_events_of(turn).order_by("-seq").values_list("seq", flat=True).first() or 0)


def _events_of(turn: Turn) -> QuerySet[Event]:
    return Event.objects.filter(turn=turn)
