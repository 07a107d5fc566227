"""The life of a conversation beside its log: the only writer of new ones, of titles and of deletions."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from history import status
from history.committed import Committed, tell
from history.errors import NotFound
from history.locks import transaction_within
from history.models import IS_ACTIVE, CompletionContent, Conversation, DeltaBatch, Event, Feedback, Turn
from history.stopping import stop


def create(owner_id: Any, *, ephemeral: bool = False) -> Conversation:
    """A conversation without messages and title; the id is of the site's own user model."""
    now = timezone.now()  # not the column's default, which SQLite writes differently from what it is compared with
    return Conversation.objects.create(owner_id=owner_id, ephemeral=ephemeral, created_at=now, updated_at=now)


def with_active_turn(rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """Each with `active_turn`, the id of the turn that is being answered in it, or None."""
    active = Turn.objects.filter(IS_ACTIVE, conversation=OuterRef("pk"))
    annotated: QuerySet[Any] = rows.annotate(active_turn=Subquery(active.values("pk")[:1]))
    return annotated


def titled(rows: QuerySet[Conversation], *, words: str) -> QuerySet[Conversation]:
    """Those whose title has these words in it, in capitals or not; all if there are none.

    As an expression, because what `LIKE` does on SQLite knows the capitals of English only."""
    return rows.filter(title__iregex=re.escape(words)) if words else rows


def rename(conversation_id: UUID, *, title: str) -> None:
    """Give a conversation another title; its place in the list stays. Raises `NotFound`."""
    change(conversation_id, title=title, is_titled=True)


def change(conversation_id: UUID, **fresh: Any) -> None:
    """Give a conversation another `title`, or put it away or take it out again (`archived`). Raises `NotFound`."""
    with transaction.atomic():
        if not Conversation.objects.filter(pk=conversation_id).update(**fresh):
            raise NotFound
        tell(Committed(conversation_id))


def purge(*, unused_for: float, at_once: int = 500) -> int:
    """Delete the ephemeral conversations that were last used so many seconds ago, and in which nothing runs. Returns
    how many. Each is deleted by itself, so that no lock is held for long; those that somebody has locked are left."""
    active = Turn.objects.filter(IS_ACTIVE, conversation=OuterRef("pk"))
    unused = Conversation.objects.filter(ephemeral=True, updated_at__lt=Now() - timedelta(seconds=unused_for))
    due = unused.filter(~Exists(active))
    purged = 0
    while True:
        found = list(due.order_by("updated_at").values_list("pk", flat=True)[:at_once])
        gone = sum(_purge(due.filter(pk=conversation_id)) for conversation_id in found)
        purged += gone
        if not gone:
            return purged


def _purge(due: QuerySet[Conversation]) -> bool:
    """Delete one conversation, if it is still due: somebody may have gone on with it."""
    can_skip = connection.features.has_select_for_update_skip_locked
    with transaction.atomic():
        conversation = due.select_for_update(skip_locked=can_skip).first()
        if conversation is not None:
            _drop(conversation.pk)
    return conversation is not None


def delete(conversation_id: UUID) -> None:
    """Stop what runs in a conversation and delete it with everything in it; who follows it is told."""
    active = Turn.objects.filter(IS_ACTIVE, conversation_id=conversation_id)
    for turn_id in active.values_list("pk", flat=True):
        stop(turn_id)
    with transaction_within(status.ORDER_LOCK_TIMEOUT):
        Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        _drop(conversation_id)


def _drop(conversation_id: UUID) -> None:
    """Delete a conversation that is locked."""
    turns = Turn.objects.filter(conversation_id=conversation_id)
    DeltaBatch.objects.filter(turn_id__in=turns.values("pk")).delete()
    Event.objects.filter(conversation_id=conversation_id).delete()
    Feedback.objects.filter(conversation_id=conversation_id).delete()
    CompletionContent.objects.filter(conversation_id=conversation_id).delete()
    turns.update(parent=None, replaces=None)
    turns.delete()
    Conversation.objects.filter(pk=conversation_id).delete()
    tell(Committed(conversation_id, gone=True))
