"""What happened in conversations whose turn runs in another process, for all that are followed here at once.

Batches are read first and events second, so that text which turns into an event in between is missing from neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from history.batches import Batch, Past, read
from history.committed import Entry
from history.draft import Draft
from history.events import Kind
from history.models import IS_ACTIVE, Event, Turn
from history.positions import positions

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
    batches: tuple[Batch, ...]


def news(known: Mapping[UUID, Known]) -> dict[UUID, News]:
    """Three queries, whatever is asked, and one more if there are events; a conversation that is gone is missing from
    the answer."""
    running = _running(known)
    batches = _batches(known, running)
    reached = positions(known)
    near = {
        each: known[each].last_seq for each, last_seq in reached.items() if _is_near(known[each].last_seq, last_seq)
    }
    entries = _entries({each: seq for each, seq in near.items() if reached[each] != seq})
    found = {}
    for conversation_id, last_seq in reached.items():
        fresh = tuple(entries.get(conversation_id, ())) if conversation_id in near else None
        last = fresh[-1].seq if fresh else last_seq
        open_batches = () if fresh is None else _in_progress(batches.get(conversation_id, ()), fresh)
        begun = fresh and fresh[-1].kind != Kind.TURN_ENDED
        found[conversation_id] = News(last, conversation_id in running or bool(begun), fresh, open_batches)
    return found


def _is_near(known: int | None, last_seq: int) -> bool:
    return known is not None and last_seq - known <= MOST


def _running(conversation_ids: Collection[UUID]) -> dict[UUID, tuple[UUID, int]]:
    """Turn and attempt in progress, by conversation."""
    rows = Turn.objects.filter(IS_ACTIVE, conversation_id__among=conversation_ids)
    return {each: (pk, attempt) for each, pk, attempt in rows.values_list("conversation_id", "pk", "attempt")}


def _batches(known: Mapping[UUID, Known], running: Mapping[UUID, tuple[UUID, int]]) -> dict[UUID, list[Batch]]:
    """The batches of the attempts in progress that lie past the known drafts, by conversation."""
    past = []
    for conversation_id, (turn_id, attempt) in running.items():
        draft = known[conversation_id].draft
        if draft is not None and (draft.turn_id, draft.attempt) == (turn_id, attempt):
            past.append(Past(turn_id, attempt, draft.hop, draft.length))
        else:
            past.append(Past(turn_id, attempt))
    of = {turn_id: conversation_id for conversation_id, (turn_id, _) in running.items()}
    found: dict[UUID, list[Batch]] = {}
    for batch in read(past):
        found.setdefault(of[batch.turn_id], []).append(batch)
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


def _in_progress(batches: Iterable[Batch], entries: Iterable[Entry]) -> tuple[Batch, ...]:
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
