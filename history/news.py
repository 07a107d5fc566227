"""What happened in conversations whose turn runs in another process, for all that are followed here at once.

Batches are read first and events second, so that text which turns into an event in between is missing from neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from history.committed import Entry
from history.draft import Draft
from history.events import Kind
from history.models import IS_ACTIVE, Conversation, DeltaBatch, Event, Turn

MOST = 200
"""Events of one conversation that are read here; of who is further behind only the position is told."""


class Known(NamedTuple):
    """What a process has of a conversation: events up to `last_seq` (None: none yet), and perhaps a draft."""

    last_seq: int | None
    draft: Draft | None


class News(NamedTuple):
    """What it lacks. `entries` are all events up to `last_seq`, or None if they are too many; `batches` are of the hop
    in progress after those, in order. `active`: a turn is in progress, also if it began while this was read."""

    last_seq: int
    active: bool
    entries: tuple[Entry, ...] | None
    batches: tuple[DeltaBatch, ...]


def news(known: Mapping[UUID, Known]) -> dict[UUID, News]:
    """Four queries, whatever is asked; a conversation that is gone is missing from the answer."""
    running = Turn.objects.filter(IS_ACTIVE, conversation_id__in=known)
    turns = {
        pk: (conversation_id, attempt)
        for pk, conversation_id, attempt in running.values_list("pk", "conversation_id", "attempt")
    }
    batches = _batches(known, turns)
    positions = dict(Conversation.objects.filter(pk__in=known).values_list("pk", "last_seq"))
    near = {
        conversation_id: known[conversation_id].last_seq
        for conversation_id, last_seq in positions.items()
        if _is_near(known[conversation_id].last_seq, last_seq)
    }
    entries = _entries(near)
    busy = {conversation_id for conversation_id, _ in turns.values()}
    found = {}
    for conversation_id, last_seq in positions.items():
        fresh = tuple(entries.get(conversation_id, ())) if conversation_id in near else None
        last = fresh[-1].seq if fresh else last_seq
        open_batches = () if fresh is None else _in_progress(batches.get(conversation_id, ()), fresh)
        begun = fresh and fresh[-1].kind != Kind.TURN_ENDED
        found[conversation_id] = News(last, conversation_id in busy or bool(begun), fresh, open_batches)
    return found


def _is_near(known: int | None, last_seq: int) -> bool:
    return known is not None and last_seq - known <= MOST


def _batches(known: Mapping[UUID, Known], turns: Mapping[UUID, tuple[UUID, int]]) -> dict[UUID, list[DeltaBatch]]:
    """The batches of these turns' attempts that lie past the known drafts, by conversation."""
    wanted = Q()
    for turn_id, (conversation_id, attempt) in turns.items():
        draft = known[conversation_id].draft
        mine = Q(turn_id=turn_id, attempt=attempt)
        if draft is not None and (draft.turn_id, draft.attempt) == (turn_id, attempt):
            mine &= Q(hop=draft.hop, start__gte=draft.length) | Q(hop__gt=draft.hop)
        wanted |= mine
    found: dict[UUID, list[DeltaBatch]] = {}
    if turns:
        for batch in DeltaBatch.objects.filter(wanted).order_by("turn_id", "hop", "start"):
            found.setdefault(turns[batch.turn_id][0], []).append(batch)
    return found


def _entries(near: Mapping[UUID, int | None]) -> dict[UUID, list[Entry]]:
    """The events past these positions."""
    wanted = Q()
    for conversation_id, last_seq in near.items():
        wanted |= Q(conversation_id=conversation_id, seq__gt=last_seq)
    found: dict[UUID, list[Entry]] = {}
    if near:
        rows = Event.objects.filter(wanted).order_by("conversation_id", "seq")
        for conversation_id, *row in rows.values_list("conversation_id", "seq", "kind", "turn_id", "at", "data"):
            found.setdefault(conversation_id, []).append(Entry(*row))
    return found


def _in_progress(batches: Iterable[DeltaBatch], entries: Iterable[Entry]) -> tuple[DeltaBatch, ...]:
    """Those whose hop, attempt and turn are not over by these events."""
    ended: set[tuple[UUID | None, int]] = set()
    over: set[UUID | None] = set()
    attempts: dict[UUID | None, int] = {}
    for entry in entries:
        if entry.kind == Kind.ASSISTANT_MESSAGE:
            ended.add((entry.turn_id, entry.data["hop"]))
        elif entry.kind == Kind.TURN_RESTARTED:
            attempts[entry.turn_id] = entry.data["attempt"]
        elif entry.kind == Kind.TURN_ENDED:
            over.add(entry.turn_id)
    return tuple(
        batch
        for batch in batches
        if (batch.turn_id, batch.hop) not in ended
        and batch.turn_id not in over
        and batch.attempt >= attempts.get(batch.turn_id, 0)
    )
