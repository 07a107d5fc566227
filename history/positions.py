"""Where conversations stand, for those who follow many of them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import connection

from history.among import among, as_uuid
from history.models import Conversation


def positions(conversation_ids: Collection[UUID]) -> dict[UUID, int]:
    """The number of the newest event of each of these that still exists, in one query."""
    condition, ids = among(conversation_ids)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, last_seq FROM {Conversation._meta.db_table} WHERE id {condition}", [ids])
        return {as_uuid(each): last_seq for each, last_seq in cursor.fetchall()}
