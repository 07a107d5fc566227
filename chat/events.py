"""The log of a conversation, page by page, in the same JSON as on the socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from access import selectors
from chat.api import ApiView
from chat.serializers import EventRange
from history import log
from history.committed import Entry
from streaming.cursor import Cursor
from streaming.view import event_frame


class ConversationEvents(ApiView):
    """`conversations/<id>/events/?after=<seq>&limit=<n>`, or `?before=<seq>` for the newest."""

    def get(self, request: Request, conversation_id: UUID) -> HttpResponse:
        """A stretch of the log, in order."""
        conversation = selectors.conversation(self.principal, conversation_id)
        asked = EventRange(data={name: value or None for name, value in request.query_params.items()})
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        if "before" in wanted:
            return newest(conversation.pk, before=wanted["before"], limit=wanted["limit"])
        return following(conversation.pk, after=wanted.get("after", 0), limit=wanted["limit"])


def newest(conversation_id: UUID, *, before: int | None, limit: int) -> HttpResponse:
    """The newest events before a number, or of all if it is None."""
    last_seq = log.position(conversation_id)
    entries = log.read_newest(conversation_id, before=before, limit=limit)
    return _answer(entries, last_seq=last_seq, has_more=bool(entries) and entries[0].seq > 1)


def following(conversation_id: UUID, *, after: int, limit: int) -> HttpResponse:
    """The events after a number."""
    found = log.read(conversation_id, after=after, limit=limit)
    has_more = bool(found.entries) and found.entries[-1].seq < found.last_seq
    return _answer(found.entries, last_seq=found.last_seq, has_more=has_more)


def _answer(entries: Sequence[Entry], *, last_seq: int, has_more: bool) -> HttpResponse:
    """`last_seq` was read first, so what was appended meanwhile may go beyond it."""
    body: dict[str, Any] = {
        "events": [event_frame(entry, cursor=Cursor(entry.seq)) for entry in entries],
        "last_seq": max(last_seq, entries[-1].seq) if entries else last_seq,
        "has_more": has_more,
    }
    return HttpResponse(msgspec.json.encode(body), content_type="application/json")
