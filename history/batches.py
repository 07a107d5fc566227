"""The stored stretches of drafts: written by the hundred, read back as drafts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from history.draft import Draft, Stretch
from history.events import Channel
from history.locks import transaction_within
from history.models import ACTIVE, IS_ACTIVE, DeltaBatch, Turn
from history.status import LOCK_TIMEOUT

COLUMNS = ("turn_id", "attempt", "hop", "start", "text", "runs")
KEY = COLUMNS[:4]


class Batch(NamedTuple):
    """A stored stretch, as it is read by the hundred."""

    turn_id: UUID
    attempt: int
    hop: int
    start: int
    text: str
    runs: Sequence[tuple[Channel, int]]


class Past(NamedTuple):
    """What is there already of an attempt at a turn: all before code point `length` of hop `hop`."""

    turn_id: UUID
    attempt: int
    hop: int = 0
    length: int = 0


def insert(fresh: Sequence[tuple[Draft, Stretch]]) -> None:
    """Store these stretches in one transaction, each as long as its turn is active and still on this attempt. What is
    there already is replaced: an earlier try may have been committed without our hearing of it, and then the row is
    there, perhaps shorter.

    Plain SQL, because every tick of a busy process comes here with hundreds of rows.
    """
    turn_id = DeltaBatch._meta.get_field("turn_id")
    rows = [
        (
            turn_id.get_db_prep_value(draft.turn_id, connection),
            draft.attempt,
            draft.hop,
            stretch.start,
            stretch.text,
            json.dumps(stretch.runs),
            turn_id.get_db_prep_value(draft.turn_id, connection),
            draft.attempt,
        )
        for draft, stretch in fresh
    ]
    with transaction_within(LOCK_TIMEOUT), connection.cursor() as cursor:
        cursor.executemany(_statement(), rows)


def read(past: Sequence[Past]) -> list[Batch]:
    """What is stored of these past that, in order. Plain SQL as well: every tick of a process whose viewers follow what
    runs elsewhere comes here."""
    if not past:
        return []
    field = DeltaBatch._meta.get_field("turn_id")
    with connection.cursor() as cursor:
        cursor.execute(_reading(), _written(past))
        return [
            Batch(field.to_python(turn_id), attempt, hop, start, text, msgspec.json.decode(runs))
            for turn_id, attempt, hop, start, text, runs in cursor.fetchall()
        ]


def drop(turn_id: UUID, *, attempt: int) -> None:
    """Forget what an attempt had stored that came to nothing: its turn is gone, or somebody else's."""
    DeltaBatch.objects.filter(turn_id=turn_id, attempt=attempt).delete()


def sweep(*, older: float) -> int:
    """Delete what is older than so many seconds and of no turn in progress; how many rows that were."""
    return _orphans().filter(at__lt=Now() - timedelta(seconds=older)).delete()[0]


def sweep_late(turn_ids: Collection[UUID]) -> None:
    """Delete what is stored of these turns, if they are over."""
    _orphans().filter(turn_id__in=turn_ids).delete()


def drafted(draft: Draft, batches: Iterable[Batch | DeltaBatch]) -> Draft:
    """The draft with the text of its batches, as far as they follow on each other."""
    for batch in batches:
        if batch.start == draft.length:
            at = 0
            for channel, length in batch.runs:
                draft.append(channel, batch.text[at : at + length])
                at += length
    return draft


def _orphans() -> QuerySet[DeltaBatch]:
    return DeltaBatch.objects.exclude(turn_id__in=Turn.objects.filter(IS_ACTIVE).values("pk"))


def _reading() -> str:
    name = connection.ops.quote_name
    known = (
        "unnest(%s::uuid[], %s::int[], %s::int[], %s::int[]) AS known(turn_id, attempt, hop, length)"
        if connection.vendor == "postgresql"
        else "(SELECT value->>0 AS turn_id, value->>1 AS attempt, value->>2 AS hop, value->>3 AS length"
        " FROM json_each(%s)) AS known"
    )
    columns = ", ".join(f"stored.{name(column)}" for column in COLUMNS)
    return (
        f"SELECT {columns} FROM {known} JOIN {name(DeltaBatch._meta.db_table)} AS stored"
        " ON stored.turn_id = known.turn_id AND stored.attempt = known.attempt"
        f" AND (stored.hop, stored.{name('start')}) >= (known.hop, known.length)"
        f" ORDER BY stored.turn_id, stored.hop, stored.{name('start')}"
    )


def _written(past: Sequence[Past]) -> Sequence[Any]:
    if connection.vendor == "postgresql":
        return [list(column) for column in zip(*past, strict=True)]
    return [json.dumps([(each.turn_id.hex, *each[1:]) for each in past])]


def _statement() -> str:
    name = connection.ops.quote_name
    columns = ", ".join(map(name, COLUMNS))
    values = ", ".join(["%s"] * len(COLUMNS))
    ours = f"{name('id')} = %s AND {name('attempt')} = %s AND {name('status')} IN {ACTIVE}"
    fresh = ", ".join(f"{name(column)} = excluded.{name(column)}" for column in ("text", "runs"))
    return (
        f"INSERT INTO {name(DeltaBatch._meta.db_table)} ({columns}) SELECT {values}"
        f" WHERE EXISTS (SELECT 1 FROM {name(Turn._meta.db_table)} WHERE {ours})"
        f" ON CONFLICT ({', '.join(map(name, KEY))}) DO UPDATE SET {fresh}"
    )
