"""Asking a turn to end, wherever it runs or waits."""

from __future__ import annotations

from uuid import UUID

from history import compaction, status
from history.errors import NotFound
from history.models import Turn


def stop(turn_id: UUID) -> bool:
    """Have whoever runs the turn end it as cancelled; one that nobody has begun ends here and now.

    False if it was over, gone or being stopped already. The first question is asked again at the end, because the
    turn may have been begun between it and the second.
    """
    return status.request_stop(turn_id) or _cancel(turn_id) or status.request_stop(turn_id)


def _cancel(turn_id: UUID) -> bool:
    conversation_id = Turn.objects.filter(pk=turn_id).values_list("conversation_id", flat=True).first()
    try:
        return conversation_id is not None and compaction.cancel_queued(conversation_id, turn_id=turn_id)
    except NotFound:
        return False
