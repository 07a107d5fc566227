"""The life of a conversation beside its log: the only writer of new ones, of titles and of deletions."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from history.committed import Committed, tell
from history.errors import NotFound
from history.models import ACTIVE, Conversation, DeltaBatch, Event, Turn
from history.stopping import stop


def create(owner_id: int) -> Conversation:
    """A conversation without messages and title."""
    return Conversation.objects.create(owner_id=owner_id)


def rename(conversation_id: UUID, *, title: str) -> None:
    """Give a conversation another title; its place in the list stays. Raises `NotFound`."""
    if not Conversation.objects.filter(pk=conversation_id).update(title=title):
        raise NotFound


def set_title_if_empty(conversation_id: UUID, *, title: str) -> None:
    """Give a conversation its first title, unless somebody was faster."""
    Conversation.objects.filter(pk=conversation_id, title="").update(title=title)


def delete(conversation_id: UUID) -> None:
    """Stop what runs in a conversation and delete it with everything in it; who follows it is told."""
    active = Turn.objects.filter(conversation_id=conversation_id, status__in=ACTIVE)
    for turn_id in active.values_list("pk", flat=True):
        stop(turn_id)
    with transaction.atomic():
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        turns = Turn.objects.filter(conversation_id=conversation_id)
        DeltaBatch.objects.filter(turn_id__in=turns.values("pk")).delete()
        Event.objects.filter(conversation_id=conversation_id).delete()
        turns.update(parent=None, replaces=None)
        turns.delete()
        Conversation.objects.filter(pk=conversation_id).delete()
        tell(Committed(conversation_id, gone=True))
