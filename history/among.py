"""Conditions on many ids, for statements that are asked so often that Django must not put them together each time."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import connection


def among(ids: Collection[UUID]) -> tuple[str, Any]:
    """What a column of ids is compared with, and the one parameter of that."""
    if connection.vendor == "postgresql":
        return "= ANY(%s)", list(ids)
    return "IN (SELECT value FROM json_each(%s))", json.dumps([each.hex for each in ids])


def as_uuid(value: UUID | str) -> UUID:
    """An id as it was read: SQLite has text."""
    return UUID(value) if isinstance(value, str) else value
