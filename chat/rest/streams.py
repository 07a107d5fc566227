"""The native protocol as server-sent events: the same frames as on the socket, for whoever only reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from access import selectors
from access.contents import require_contents
from access.principals import Principal
from chat.rest.api import ApiView
from chat.rest.serializers import AfterQuery, StreamQuery
from history.errors import ChatError
from history.models import ACTIVE, Turn
from streaming import engine
from streaming.answer import follow_turn
from streaming.contents import with_contents
from streaming.cursor import Cursor, parse
from streaming.follow import Showing, follow
from streaming.frames import Error, Heartbeat, ServerFrame, encode
from streaming.repeats import begin_of, end_of
from web.schema import EVENT_STREAM, describes, stream_of
from web.streams import HEADERS, StreamedResponse
from web.waiting import leave_thread

Following: TypeAlias = Callable[..., AsyncGenerator[Any, None]]

RESUMING = {"Last-Event-ID": "The `id` of the last event that arrived; goes before `after`."}


class ConversationStream(ApiView):
    """`conversations/<id>/stream/?after=<cursor>`, or `Last-Event-ID`"""

    http_method_names = ("get",)  # not HEAD, which would wait for ever

    @describes({(200, EVENT_STREAM): stream_of("Every frame past the cursor.")}, query=StreamQuery, headers=RESUMING)
    def get(self, request: Request, conversation_id: UUID) -> HttpResponseBase:
        """Everything past the cursor, then live, over all turns until the caller leaves."""
        found = selectors.conversation(self.principal, conversation_id)
        asked = StreamQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        if "logs" in asked.validated_data:
            require_contents(self.principal)
        return stream(partial(_shown, found.pk, asked, after=_after(request), principal=self.principal))


def _shown(conversation_id: UUID, asked: StreamQuery, *, principal: Principal, **place: Any) -> Showing:
    frames = follow(conversation_id, principal=principal, **place)
    if "logs" not in asked.validated_data:
        return frames
    return with_contents(frames, conversation_id=conversation_id, principal=principal)


class TurnStream(ApiView):
    """`turns/<id>/stream/?after=<cursor>`, or `Last-Event-ID`"""

    http_method_names = ("get",)

    @describes(
        {(200, EVENT_STREAM): stream_of("The turn's frames past the cursor, up to its end."), 204: None},
        query=AfterQuery,
        headers=RESUMING,
    )
    def get(self, request: Request, turn_id: UUID) -> HttpResponseBase:
        """One turn, from its beginning or from the cursor, to its end; 204 if that is behind the caller."""
        turn = selectors.turn(self.principal, turn_id)
        after = max(_after(request), begin_of(turn))
        if _is_behind(turn, after):
            return HttpResponse(status=204)
        return stream(
            partial(follow_turn, turn.pk, conversation_id=turn.conversation_id, after=after, principal=self.principal)
        )


def stream(following: Following) -> StreamingHttpResponse:
    """The response that carries what is followed."""
    return StreamedResponse(_events(following), content_type=EVENT_STREAM, headers=HEADERS)


async def _events(following: Following) -> AsyncGenerator[bytes, None]:
    await leave_thread()
    try:
        async with aclosing(following(hub=engine.ensure_started().hub)) as frames:
            async for frame in frames:
                yield event(frame)
    except ChatError as error:
        yield event(Error(code=error.code, message=error.message))


def event(frame: ServerFrame) -> bytes:
    """A frame as a server-sent event. A heartbeat is a comment as well: `EventSource` tells its page of no other."""
    name = frame.__struct_config__.tag
    cursor = getattr(frame, "cursor", None)
    beat = ": heartbeat\n" if isinstance(frame, Heartbeat) else ""
    position = f"id: {cursor}\n" if cursor is not None else ""
    return f"{beat}event: {name}\ndata: {encode(frame)}\n{position}\n".encode()


def _after(request: Request) -> Cursor:
    asked = AfterQuery(data=request.query_params)
    asked.is_valid(raise_exception=True)
    return parse(request.headers.get("Last-Event-ID") or asked.validated_data["after"])


def _is_behind(turn: Turn, cursor: Cursor) -> bool:
    return turn.status not in ACTIVE and cursor.seq >= end_of(turn).seq
