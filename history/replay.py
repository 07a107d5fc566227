"""What the database has for a viewer who comes, or comes back: batches are read first and events second, so that text
which turns into an event in between is missing from neither."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple
from uuid import UUID

from history import calls, log
from history.batches import drafted
from history.draft import Draft
from history.events import Kind
from history.models import IS_ACTIVE, Conversation, DeltaBatch, Event, Turn
from history.states import State, states


class Missed(NamedTuple):
    """What a viewer lacks. `stats` is the newest snapshot, read after the page, if the page brings none; `state` is
    what there is to show beside the log; both only if they were asked for."""

    page: log.Page
    draft: Draft | None
    stats: dict[str, Any] | None
    state: State | None


def missed(conversation_id: UUID, *, after: int, limit: int, with_stats: bool, with_state: bool) -> Missed:
    """What the database has past number `after` for a viewer. Raises `NotFound`."""
    page, draft = read(conversation_id, after=after, limit=limit)
    is_told = not after or any(entry.kind == Kind.STATS for entry in page.entries)
    stats = calls.newest(conversation_id) if with_stats and not is_told else None
    state = states([conversation_id]).get(conversation_id) if with_state else None
    return Missed(page, draft, stats, state)


def read(conversation_id: UUID, *, after: int, limit: int = 500) -> tuple[log.Page, Draft | None]:
    """A page of events past number `after`, and the stored draft if one is in progress. Raises `NotFound`."""
    draft = stored_drafts([conversation_id]).get(conversation_id)
    return log.read(conversation_id, after=after, limit=limit), draft


def stored_drafts(conversation_ids: Collection[UUID]) -> dict[UUID, Draft]:
    """The stored part of the drafts in progress in these conversations, in a fixed number of queries."""
    active = Turn.objects.filter(IS_ACTIVE, conversation_id__in=conversation_ids)
    turns = {pk: (conversation_id, attempt) for pk, conversation_id, attempt in
             active.values_list("pk", "conversation_id", "attempt")}  # fmt: skip
    if not turns:
        return {}
    drafts: dict[UUID, Draft] = {}
    for batch in DeltaBatch.objects.filter(turn_id__in=turns).order_by("turn_id", "attempt", "hop", "start"):
        conversation_id, attempt = turns[batch.turn_id]
        if batch.attempt != attempt:
            continue
        draft = drafts.get(conversation_id)
        if draft is None or draft.hop != batch.hop:
            draft = Draft(conversation_id, turn_id=batch.turn_id, attempt=attempt, hop=batch.hop, after_seq=0)
            drafts[conversation_id] = draft
        drafted(draft, [batch])
    return _in_progress(drafts)


def _in_progress(drafts: dict[UUID, Draft]) -> dict[UUID, Draft]:
    """Those whose attempt and hop have not ended meanwhile; each learns which events came before it. The events' number
    is read first: what ends a draft after that has a higher one."""
    said = Event.objects.filter(turn_id__in=[draft.turn_id for draft in drafts.values()], kind=Kind.ASSISTANT_MESSAGE)
    positions = dict(Conversation.objects.filter(pk__in=drafts).values_list("pk", "last_seq"))
    ended = set(said.values_list("turn_id", "hop"))
    active = Turn.objects.filter(IS_ACTIVE, pk__in=[draft.turn_id for draft in drafts.values()])
    attempts = dict(active.values_list("pk", "attempt"))
    kept = {}
    for conversation_id, draft in drafts.items():
        if (draft.turn_id, draft.hop) in ended or attempts.get(draft.turn_id) != draft.attempt:
            continue
        if conversation_id not in positions:
            continue
        draft.after_seq = positions[conversation_id]
        kept[conversation_id] = draft
    return kept
