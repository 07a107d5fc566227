"""Lists in pages: a cursor says where the next one begins, so that each is read by index at any depth."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from rest_framework import exceptions
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from streaming.errors import InvalidCursor

NUMBER = re.compile(r"[0-9]{1,18}")


class Pages(CursorPagination):
    """Pages of rows that are ordered by a number. Links are without host, which a proxy may have changed."""

    page_size = 30

    def answer(
        self, rows: QuerySet[Any], *, request: Request, show: Callable[[list[Any]], list[Any]]
    ) -> dict[str, Any]:
        """The rows that the request asks for, as they are shown, and the way to their neighbours."""
        found = self.paginate_queryset(rows, request)
        self.base_url = request.get_full_path()
        results = show(found or [])
        return {"next": self.get_next_link(), "previous": self.get_previous_link(), "results": results}

    def is_position(self, text: str) -> bool:
        """Whether a page can begin there."""
        return NUMBER.fullmatch(text) is not None

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            raise InvalidCursor from None
        position: Any = cursor and cursor.position
        if position is not None and not self.is_position(position):
            raise InvalidCursor
        return cursor
