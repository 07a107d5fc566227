"""What a conversation shows beside its log: its name, whether a turn is in progress, and of which model that is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import OuterRef, Subquery

from history.models import IS_ACTIVE, Conversation, Turn

State: TypeAlias = Mapping[str, Any]
"""Value by key."""
IDLE = "idle"


def states(conversation_ids: Collection[UUID]) -> dict[UUID, State]:
    """That of each of these that still exists, in one query."""
    turns = Turn.objects.filter(conversation=OuterRef("pk"))
    rows = Conversation.objects.filter(pk__among=conversation_ids).annotate(
        status=Subquery(turns.filter(IS_ACTIVE).values("status")[:1]),
        model=Subquery(turns.order_by("-created_at").values("profile")[:1]),
    )
    return {
        pk: {"title": title, "status": status or IDLE, "model": model or "", "archived": archived}
        for pk, title, status, model, archived in rows.values_list("pk", "title", "status", "model", "archived")
    }
