"""The status machine of a turn: each edge is one compare-and-set whose row count says who won (see ARCHITECTURE.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import DurationField, F, Q, QuerySet
from django.db.models.functions import Now

from history.committed import Committed, tell
from history.errors import Fenced
from history.events import TurnEnded
from history.locks import transaction_within
from history.models import ACTIVE, IS_ACTIVE, Status, Turn
from history.prepared import Given, Insert, Select, Update, given

LOCK_TIMEOUT = 0.2
"""How long the engine's one writer may wait for a row that somebody else has locked."""
ORDER_LOCK_TIMEOUT = 2.0
"""How long an order may, before it is refused. There are few threads for orders."""

FINISH_REASON = 50
NOT_BEGUN, FIRST = 0, 1
"""The attempt of a turn that waits for an engine, and the one in which it is as whoever made it knows it."""

LAPSED = Q(lease_expires_at__lte=Now())
"""Matches turns that were not renewed in time."""
RELEASED = Q(engine=None)
"""Matches turns in progress that a process has given back."""


_LEASED = Now() + Given("lease", DurationField())
_QUEUE = Insert(Turn)
_BEGIN = Insert(Turn, lease_expires_at=_LEASED, started_at=Now())
_FENCE = Update(
    lambda: Turn.objects.filter(pk=given(Turn, "id"), attempt=given(Turn, "attempt"), status__in=ACTIVE),
    attempt=given(Turn, "attempt"),
)
_CLAIM = Update(
    lambda: Turn.objects.filter(pk=given(Turn, "id"), status=Status.QUEUED),
    status=Status.RUNNING,
    attempt=F("attempt") + 1,
    engine=given(Turn, "engine"),
    lease_expires_at=_LEASED,
    started_at=Now(),
)
_CLAIMED = Select(
    lambda: Turn.objects.filter(
        pk=given(Turn, "id"), engine=given(Turn, "engine"), status__in=(Status.RUNNING, Status.STOPPING)
    ).values_list("conversation_id", "attempt")
)


class Abandoned(NamedTuple):
    """A turn in progress on which nobody works: `still` matches its row for as long as that is so. `engine` is whose
    it was; None: it was released."""

    conversation_id: UUID
    turn_id: UUID
    attempt: int
    status: str
    losses: int
    engine: UUID | None
    still: Q


def fence(turn_id: UUID, *, attempt: int, still: Q | None = None) -> None:
    """Begin a fenced write: hold the turn's row if it is active, on this attempt, and matches `still`; else raise
    `Fenced`."""
    if still is None:
        held = _FENCE.run(id=turn_id, attempt=attempt)
    else:
        rows = Turn.objects.filter(still, pk=turn_id, attempt=attempt, status__in=ACTIVE)
        held = rows.update(attempt=attempt)
    if not held:
        raise Fenced


def create(turn: Turn, *, engine: UUID | None, lease: float) -> Turn:
    """Edge a, · → queued: the turn waits for an engine; or, where one makes it, edge j, · → running: it is that
    engine's, in its first attempt, for `lease` seconds of database time, from the commit on."""
    if engine is None:
        _QUEUE.run(turn)
    else:
        turn.status, turn.engine, turn.attempt = Status.RUNNING, engine, FIRST
        _BEGIN.run(turn, lease=timedelta(seconds=lease))
    return turn


def claim(turn_id: UUID, *, engine: UUID, lease: float) -> int | None:
    """Edge b, queued → running: the engine owns the turn for `lease` seconds of database time. Returns the attempt,
    also when it is asked again because the answer was lost; None if somebody else was first."""
    with transaction_within(LOCK_TIMEOUT):
        claimed = _CLAIM.run(id=turn_id, engine=engine, lease=timedelta(seconds=lease))
        row = _CLAIMED.first(id=turn_id, engine=engine)
        if claimed and row is not None:
            tell(Committed(row[0], turn_id=turn_id, status=Status.RUNNING))
    return None if row is None else row[1]


def request_stop(turn_id: UUID) -> bool:
    """Edge c, running → stopping: whoever runs the turn ends it as cancelled. True if this call made the change.

    A queued turn is nobody's yet: `history.compaction.cancel_queued` ends it.
    """
    with transaction_within(ORDER_LOCK_TIMEOUT):
        changed = _change(Turn.objects.filter(pk=turn_id, status=Status.RUNNING), status=Status.STOPPING)
        if changed:
            conversation_id = Turn.objects.values_list("conversation_id", flat=True).get(pk=turn_id)
            tell(Committed(conversation_id, turn_id=turn_id, status=Status.STOPPING))
    return changed


def end(turn_id: UUID, *, attempt: int, ended: TurnEnded) -> None:
    """Edges d, e, f, g: active → completed, failed or cancelled, in the transaction that appends `turn_ended`.
    Raises `Fenced`."""
    usage = ended.usage
    tokens: dict[str, Any] = {}
    if usage is not None:
        tokens = {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "cached_tokens": usage.cached,
            "reasoning_tokens": usage.reasoning,
        }
    if not _change(
        Turn.objects.filter(pk=turn_id, attempt=attempt, status__in=ACTIVE),
        status=ended.status,
        lease_expires_at=None,
        ended_at=Now(),
        error_code=ended.error.code if ended.error else "",
        finish_reason=(ended.finish_reason or "")[:FINISH_REASON],  # a provider's word; the event has all of it
        cost=Decimal(ended.cost) if ended.cost is not None else None,
        **tokens,
    ):
        raise Fenced


def has_ended(turn_id: UUID) -> bool:
    """Whether a turn is over, or gone."""
    return not Turn.objects.filter(pk=turn_id, status__in=ACTIVE).exists()


def owned(engine: UUID) -> dict[UUID, tuple[int, str]]:
    """Attempt and status of the active turns that are this engine's."""
    rows = Turn.objects.filter(IS_ACTIVE, engine=engine).values_list("pk", "attempt", "status")
    return {pk: (attempt, status) for pk, attempt, status in rows}


def renew(turn_ids: Iterable[UUID], *, engine: UUID, lease: float) -> None:
    """Prolong the leases of turns which have a live task in this engine. A row that somebody else has locked is left
    out: until it is free nobody else can take the turn either, and the others must not wait for it."""
    with transaction_within(LOCK_TIMEOUT):
        turns = Turn.objects.filter(pk__in=list(turn_ids), engine=engine, status__in=ACTIVE)
        if connection.features.has_select_for_update_skip_locked:
            free = turns.select_for_update(skip_locked=True, no_key=True).values("pk")
            turns = Turn.objects.filter(pk__in=free)
        turns.update(lease_expires_at=Now() + timedelta(seconds=lease))


def verify(turn_ids: Iterable[UUID], *, engine: UUID, lease: float) -> dict[UUID, int]:
    """Renew what is still this engine's of these turns; the attempts of all that it owns."""
    renew(turn_ids, engine=engine, lease=lease)
    return {turn_id: attempt for turn_id, (attempt, _) in owned(engine).items()}


def not_mine(turn_ids: Iterable[UUID], *, engine: UUID) -> set[UUID]:
    """Those of these turns that this engine neither owns nor may still claim: gone, ended, or somebody else's."""
    ids = set(turn_ids)
    mine = Turn.objects.filter(pk__in=ids).filter(Q(status=Status.QUEUED) | Q(engine=engine, status__in=ACTIVE))
    return ids - set(mine.values_list("pk", flat=True))


def engines_of(turn_id: UUID, *, attempt: int) -> list[UUID | None]:
    """Whose an active turn is in that attempt; of none, if there is no such thing."""
    return list(Turn.objects.filter(IS_ACTIVE, pk=turn_id, attempt=attempt).values_list("engine", flat=True))


def release(attempts: Mapping[UUID, int], *, engine: UUID, lease: float) -> set[UUID]:
    """Edge i, running → running: these turns of an engine, each in its attempt, are nobody's, and whoever sees them may
    take them over at once. Returns which are; left out are those that are somebody else's, have ended, or are locked.
    One that is being stopped keeps its status, and is ended by whoever sees it.

    They keep a lease, because a process of the version before would end a turn without one.
    """
    with transaction_within(LOCK_TIMEOUT):
        rows = Turn.objects.filter(pk__in=list(attempts), engine=engine, status__in=ACTIVE)
        free = rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", "attempt")
        ours = {pk for pk, attempt in free if attempt == attempts[pk]}
        Turn.objects.filter(pk__in=ours).update(engine=None, lease_expires_at=Now() + timedelta(seconds=lease))
    return ours


def abandoned(still: Q, *, among: Iterable[UUID] | None = None) -> list[Abandoned]:
    """The turns in progress that match, of these or of all; who has waited longest comes first."""
    rows = Turn.objects.filter(IS_ACTIVE, still).exclude(status=Status.QUEUED).order_by("lease_expires_at")
    if among is not None:
        rows = rows.filter(pk__in=list(among))
    found = rows.values_list("conversation_id", "pk", "attempt", "status", "losses", "engine")
    return [
        Abandoned(conversation_id, pk, attempt, state, losses, engine, still & Q(engine=engine))
        for conversation_id, pk, attempt, state, losses, engine in found
    ]


def forgotten(*, after: float) -> list[UUID]:
    """Turns that have been waiting for a process for more than `after` seconds."""
    rows = Turn.objects.filter(status=Status.QUEUED, created_at__lt=Now() - timedelta(seconds=after))
    return list(rows.values_list("pk", flat=True))


def _change(turn: QuerySet[Turn], **values: Any) -> bool:
    return bool(turn.update(**values))
