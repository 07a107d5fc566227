"""The rows of the database, read from outside with nothing but its driver."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests.torture import drafts
from tests.torture.records import BatchRow, ConversationRow, EventRow, Record, StateRow, TurnRow

Row = dict[str, Any]
ACTIVE = "status IN ('queued', 'running', 'stopping')"
STATES = f"""
SELECT id, title, archived,
    (SELECT status FROM verbatim_history_turn WHERE conversation_id = conversation.id AND {ACTIVE}) AS status,
    (SELECT profile FROM verbatim_history_turn WHERE conversation_id = conversation.id
        ORDER BY created_at DESC LIMIT 1) AS model
FROM verbatim_history_conversation AS conversation
"""
NAMELESS = """
SELECT titling_since, turn.ended_at
FROM verbatim_history_conversation AS conversation
JOIN verbatim_history_turn AS turn ON turn.conversation_id = conversation.id AND turn.status = 'completed'
WHERE titling_since IS NOT NULL OR NOT is_titled
"""
SOON = 5.0
"""How long after a turn it is certain that nobody names its conversation, in seconds: its process is gone."""
PATIENCE = 5
MOMENT = 0.3


class Rows:
    """Reads at `url`. Every question has a connection and a thread of its own."""

    def __init__(self, url: str, *, owner: str) -> None:
        self.url = url
        self.owner = owner

    async def turns(self, also: Collection[str] = ()) -> list[TurnRow]:
        """The turns that are not over, and those that are asked for."""
        known = ", ".join(f"'{self._id(turn)}'" for turn in also)
        where = ACTIVE + (f" OR id IN ({known})" if also else "")
        return [self._turn(row) for row in await self._read(f"SELECT * FROM verbatim_history_turn WHERE {where}")]

    async def draft(self, turn: str) -> tuple[int, str]:
        """Attempt, and the text that is stored of the hop in progress; 0 and none if none is."""
        condition = f"turn_id = '{self._id(turn)}'"
        rows = await self._read(f"SELECT * FROM verbatim_history_deltabatch WHERE {condition}")
        return drafts.newest(self._batch(row) | {"runs": _json(row["runs"])} for row in rows)

    async def leaves_batches(self) -> bool:
        """Whether batches are left of turns that are over."""
        over = f"NOT EXISTS (SELECT 1 FROM verbatim_history_turn AS turn WHERE turn.id = turn_id AND turn.{ACTIVE})"
        return bool(await self._read(f"SELECT 1 FROM verbatim_history_deltabatch WHERE {over} LIMIT 1"))

    async def is_naming(self) -> bool:
        """Whether a title is waited for, or is about to be: a model is asked for it once a turn has been completed."""
        rows = await self._read(NAMELESS)
        return any(row["titling_since"] or time.time() - _time(row["ended_at"]) < SOON for row in rows)

    async def positions(self) -> dict[str, int]:
        """How many events each conversation has."""
        rows = await self._read("SELECT id, last_seq FROM verbatim_history_conversation")
        return {_uuid(row["id"]): row["last_seq"] for row in rows}

    async def states(self) -> list[StateRow]:
        """What there is to show of each conversation beside its log."""
        return [
            StateRow(
                conversation=_uuid(row["id"]),
                title=row["title"],
                status=row["status"] or "idle",
                model=row["model"] or "",
                archived=bool(row["archived"]),
            )
            for row in await self._read(STATES)
        ]

    async def everything(self) -> list[Record]:
        """All rows of the log, as records."""
        conversations = await self._read("SELECT * FROM verbatim_history_conversation ORDER BY created_at")
        turns = await self._read("SELECT * FROM verbatim_history_turn ORDER BY created_at")
        events = await self._read("SELECT * FROM verbatim_history_event ORDER BY conversation_id, seq")
        batches = await self._read("SELECT * FROM verbatim_history_deltabatch ORDER BY id")
        return [
            *(
                ConversationRow(id=_uuid(row["id"]), owner=self.owner, last_seq=row["last_seq"])
                for row in conversations
            ),
            *map(self._turn, turns),
            *map(self._event, events),
            *(BatchRow(**self._batch(row)) for row in batches),
            *await self.states(),
        ]

    def _turn(self, row: Row) -> TurnRow:
        return TurnRow(
            id=_uuid(row["id"]),
            conversation=_uuid(row["conversation_id"]),
            owner=self.owner,
            request_id=row["request_id"],
            status=row["status"],
            attempt=row["attempt"],
            losses=row.get("losses", 0),
            engine=_uuid(row["engine"]) if row["engine"] else None,
        )

    def _event(self, row: Row) -> EventRow:
        return EventRow(
            conversation=_uuid(row["conversation_id"]),
            seq=row["seq"],
            kind=row["kind"],
            turn=_uuid(row["turn_id"]) if row["turn_id"] else None,
            data=_json(row["data"]),
            stored=_time(row["at"]),
        )

    def _batch(self, row: Row) -> Row:
        return {"turn": _uuid(row["turn_id"]), **{name: row[name] for name in ("attempt", "hop", "start", "text")}}

    def _id(self, value: str) -> str:
        """An id as this database holds it."""
        return UUID(value).hex if self.url.startswith("sqlite") else value

    async def is_locked(self) -> bool:
        """Whether somebody holds SQLite's one lock, and does not let go of it within a moment."""
        return self.url.startswith("sqlite") and await asyncio.to_thread(self._lock)

    def _lock(self) -> bool:
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=MOMENT)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    async def hold(self, table: str, row: str, *, seconds: float) -> tuple[float, float]:
        """Lock a row of PostgreSQL, as somebody at a console may; from when to when it was."""
        return await asyncio.to_thread(self._hold, table, row, seconds)

    def _hold(self, table: str, row: str, seconds: float) -> tuple[float, float]:
        began = time.time()
        with suppress(psycopg.OperationalError), _postgres(self.url) as execute:  # its lock goes with the connection
            execute(f"SELECT 1 FROM verbatim_history_{table} WHERE id = '{row}' FOR UPDATE")
            time.sleep(seconds)
        return began, time.time()

    async def _read(self, statement: str) -> list[Row]:
        """What the database answers. Raises `OSError` while it is away."""
        return await asyncio.to_thread(self._ask, statement)

    def _ask(self, statement: str) -> list[Row]:
        try:
            with _sqlite(self.url) if self.url.startswith("sqlite") else _postgres(self.url) as execute:
                return [dict(row) for row in execute(statement).fetchall()]
        except (sqlite3.OperationalError, psycopg.OperationalError) as error:
            raise OSError("the database is away") from error


@contextmanager
def _sqlite(url: str) -> Iterator[Callable[[str], Any]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=PATIENCE)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection.execute


@contextmanager
def _postgres(url: str) -> Iterator[Callable[[Any], Any]]:
    options = f"-c statement_timeout={PATIENCE * 1000}"
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=PATIENCE, options=options) as connection:
        yield connection.execute


def _uuid(value: Any) -> str:
    return str(UUID(str(value)))


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _time(value: Any) -> float:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return float((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
