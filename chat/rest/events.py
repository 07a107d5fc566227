"""The log of a conversation, page by page, in the same JSON as on the socket."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from access import selectors
from chat.rest.api import ApiView
from chat.rest.serializers import EventRange
from history import log
from history.committed import Entry
from streaming.cursor import Cursor
from streaming.frames import Event
from streaming.view import event_frame
from web.schema import describes


class EventPage(msgspec.Struct, frozen=True):
    """A stretch of the log; `last_seq` is the number of the conversation's newest event."""

    events: list[Event]
    last_seq: int
    has_more: bool


class ConversationEvents(ApiView):
    """`conversations/<id>/events/?after=<seq>&before=<seq>&kind=<kind>&order=asc|desc&limit=<n>`"""

    @describes({200: EventPage}, query=EventRange)
    def get(self, request: Request, conversation_id: UUID) -> HttpResponse:
        """A stretch of the log, from the oldest or the newest of what is asked for on."""
        conversation = selectors.conversation(self.principal, conversation_id)
        asked = EventRange(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        found = log.stretch(
            conversation.pk,
            after=wanted["after"],
            before=wanted["before"],
            kinds=wanted["kind"],
            newest_first=wanted["order"] == "desc",
            limit=wanted["limit"] + 1,  # the last one says whether there are more
        )
        return _answer(found, limit=wanted["limit"], last_seq=conversation.last_seq)


def _answer(found: Sequence[Entry], *, limit: int, last_seq: int) -> HttpResponse:
    """`last_seq` was read first, so what was appended meanwhile may go beyond it."""
    entries = found[:limit]
    body = EventPage(
        events=[event_frame(entry, cursor=Cursor(entry.seq)) for entry in entries],
        last_seq=max([last_seq, *(entry.seq for entry in entries)]),
        has_more=len(found) > limit,
    )
    return HttpResponse(msgspec.json.encode(body), content_type="application/json")
