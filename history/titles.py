"""The titles that models give to conversations: who asks, once, what about, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models.functions import Now

from history import calls, status
from history.calls import Call
from history.events import Kind
from history.locks import transaction_within
from history.log import appending
from history.models import Conversation, Event, Turn
from llm.types import Usage

TITLE = "title"
"""The usage id of these calls."""


class Untitled(NamedTuple):
    """A conversation to be named: its title until now, the profile and payer of its turn, and what was said in that."""

    title: str
    profile: str
    owner_id: object
    key_id: int | None
    question: str
    answer: str


def claim(conversation_id: UUID, *, turn_id: UUID) -> Untitled | None:
    """Be the one who asks; None if somebody was before, its owner has named it, or it was for a single request."""
    rows = Conversation.objects.filter(pk=conversation_id, is_titled=False, ephemeral=False)
    if not rows.exists():
        return None  # after all answers but the first: no lock is taken for that
    with transaction_within(status.LOCK_TIMEOUT):
        if not rows.update(is_titled=True, titling_since=Now()):
            return None
        title = Conversation.objects.values_list("title", flat=True).get(pk=conversation_id)
        turn = Turn.objects.get(pk=turn_id)
        kinds = (Kind.USER_MESSAGE, Kind.ASSISTANT_MESSAGE)
        said = dict.fromkeys(kinds, "")
        for kind, data in (
            Event.objects.filter(turn_id=turn_id, kind__in=kinds).order_by("seq").values_list("kind", "data")
        ):
            said[Kind(kind)] += data.get("text", "")
    return Untitled(title, turn.profile, turn.owner_id, turn.key_id, *said.values())


def settle(conversation_id: UUID, *, call: Call | None, before: str, title: str) -> None:
    """The call is over. Its title takes the place of the one before, unless somebody has given it another meanwhile, or
    it is none. If no call was made, the next answer is to have one made. Raises `NotFound`."""
    with appending(conversation_id, lock_timeout=status.LOCK_TIMEOUT) as log:
        rows = Conversation.objects.filter(pk=conversation_id, titling_since__isnull=False)
        if rows.update(titling_since=None, is_titled=call is not None or log.title != before):
            calls.tell(log, None, call)
            if title and log.title == before:
                log.title = title


def lost(*, older: float) -> list[tuple[UUID, str]]:
    """The conversations for which a call was to be made so many seconds ago, by processes that must be gone, and their
    titles."""
    rows = Conversation.objects.filter(titling_since__lt=Now() - timedelta(seconds=older)).order_by("titling_since")
    return list(rows.values_list("pk", "title"))


def settle_lost(conversation_id: UUID, *, title: str) -> None:
    """Tell of the call that was lost with its process. Raises `NotFound`."""
    models = Turn.objects.filter(conversation_id=conversation_id).order_by("created_at")
    model = models.values_list("model", flat=True).first() or ""
    call = Call(model=model, context_window=0, outcome="lost", usage=Usage(), usage_id=TITLE, is_estimated=True)
    settle(conversation_id, call=call, before=title, title="")
