"""What people think of answers: the only writer of feedback."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from history.errors import NotFound
from history.models import Conversation, Feedback, Sentiment, Turn


def give(turn: Turn, *, owner_id: Any, sentiment: Sentiment, comment: str) -> tuple[Feedback, bool]:
    """Note what somebody thinks of a turn, in place of what they said before; the id is of the site's own user model.

    True if they had said nothing. Raises `NotFound` if the turn is gone.
    """
    said = {"sentiment": sentiment, "comment": comment, "at": timezone.now()}
    with transaction.atomic():
        conversation = Conversation.objects.select_for_update(no_key=True).filter(pk=turn.conversation_id)
        if conversation.values_list("pk").first() is None:  # deleted meanwhile; from here on it cannot be
            raise NotFound
        return Feedback.objects.update_or_create(
            turn_id=turn.pk,
            owner_id=owner_id,
            defaults=said,
            create_defaults={**said, "conversation_id": turn.conversation_id},
        )


def withdraw(turn_id: UUID, *, owner_id: Any) -> None:
    """Forget what somebody thinks of a turn, if they ever said so."""
    Feedback.objects.filter(turn_id=turn_id, owner_id=owner_id).delete()
