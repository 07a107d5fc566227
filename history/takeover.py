"""Turns whose process is gone: who finds one goes on with it where its last hop ended."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from history import calls, status
from history.calls import Asked
from history.compaction import Place, lost_call
from history.errors import Fenced
from history.events import Kind, TurnRestarted
from history.log import appending
from history.models import DeltaBatch, Event, Status, Turn
from history.status import Abandoned


def take_over(turn: Abandoned, *, engine: UUID, lease: float, asked: Asked | None = None) -> int:
    """Edge h, running → running: the turn is this engine's, in a new attempt, which is returned. What was shown of the
    hop in progress is withdrawn, in the same transaction; `asked` is what was asked in it, if its process was lost.
    Raises `Fenced` if it is not abandoned after all, `NotFound`.
    """
    attempt = turn.attempt + 1
    with appending(turn.conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        row = Turn.objects.filter(turn.still, pk=turn.turn_id, attempt=turn.attempt, status=Status.RUNNING)
        if not row.update(
            attempt=attempt,
            losses=F("losses") + (0 if turn.engine is None else 1),
            engine=engine,
            lease_expires_at=Now() + timedelta(seconds=lease),
        ):
            raise Fenced
        place = Place(turn.conversation_id, turn.turn_id, turn.attempt)
        calls.tell(log, turn.turn_id, lost_call(place, asked) if asked is not None else None)
        DeltaBatch.objects.filter(turn_id=turn.turn_id).delete()
        hops = Event.objects.filter(turn_id=turn.turn_id, kind=Kind.ASSISTANT_MESSAGE).count()
        reason = "released" if turn.engine is None else "lost"
        log.append(turn.turn_id, TurnRestarted(attempt=attempt, hop=hops, reason=reason))
        log.status = (turn.turn_id, Status.RUNNING)
    return attempt
