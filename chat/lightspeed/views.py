"""The door for lightspeed's clients: one POST starts a turn and streams its answer, another one stops it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.principals import Principal, Scope
from chat.lightspeed import errors
from chat.lightspeed.fold import Answer, Style
from chat.lightspeed.frames import AnyFrame, ErrorFrame, Sent, as_sse, as_text
from chat.lightspeed.request import ChatRequest, InterruptRequest, asked_in
from chat.rest.api import ApiView
from chat.rest.asking import again, headers_of
from history.conf import chat_settings
from history.errors import ChatError
from history.models import ACTIVE
from streaming import engine
from streaming.answer import follow_turn
from streaming.turns import Started, start_turn, stop_turn
from web.schema import EVENT_STREAM, KEYED, OF_BODIES, REFUSALS, REFUSED_TURN, describes, stream_of
from web.streams import HEADERS, StreamedResponse
from web.waiting import leave_thread

INTERRUPTED = "Streaming request interrupted"
NOTHING_TO_INTERRUPT = "Streaming request already completed; nothing to interrupt"
PLAIN = "text/plain; charset=utf-8"
Responses = Mapping[int | tuple[int, str], Any]
REFUSED: Responses = dict.fromkeys((*REFUSALS, *OF_BODIES, *REFUSED_TURN), errors.Refusal)
ANSWER: Responses = {
    (200, EVENT_STREAM): stream_of("The answer as it is written.", frame=AnyFrame),
    (200, "text/plain"): {"type": "string", "description": "The answer's text, if `media_type` says so."},
}
RESUMED = {"Last-Event-ID": "The id of the last event that came: the answer goes on after it."}


class InterruptedOut(msgspec.Struct, frozen=True):
    """`interrupted`: the turn ends because of this."""

    request_id: UUID
    interrupted: bool
    message: str


class LightspeedView(ApiView):
    """Refuses in lightspeed's words."""

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        return errors.respond


class StreamingChat(LightspeedView):
    """`ai/streaming_chat/`"""

    @describes({**ANSWER, **REFUSED}, body=ChatRequest, headers={**KEYED, **RESUMED})
    def post(self, request: Request) -> StreamingHttpResponse:
        """Ask, and get the answer as it is written; the same request again joins it, or gets what is stored."""
        self.principal.require(Scope.READ)
        asked = asked_in(request, principal=self.principal)
        repeated = again(request, principal=self.principal)
        started = start_turn(self.principal, asked.conversation_id, asked.order, again=repeated)
        return StreamedResponse(
            speak(started, principal=self.principal, write=as_text if asked.plain else as_sse, style=chosen()),
            content_type=PLAIN if asked.plain else EVENT_STREAM,
            headers={**HEADERS, **headers_of(started)},
        )


class Interrupt(LightspeedView):
    """`ai/streaming_chat/interrupt/`"""

    @describes({200: InterruptedOut, **REFUSED}, body=InterruptRequest)
    def post(self, request: Request) -> Response:
        """Stop a turn; what was said of it is kept."""
        body = InterruptRequest(data=request.data)
        body.is_valid(raise_exception=True)
        turn_id = body.validated_data["request_id"]
        stops = stop_turn(self.principal, turn_id) or selectors.turn(self.principal, turn_id).status in ACTIVE
        message = INTERRUPTED if stops else NOTHING_TO_INTERRUPT
        return Response(msgspec.to_builtins(InterruptedOut(turn_id, stops, message)))


def chosen() -> Style:
    """What the site chose."""
    site = chat_settings()
    return Style(
        roles=site.lightspeed_roles,
        tools=site.lightspeed_tools,
        heartbeat_events=site.lightspeed_heartbeat_events,
    )


async def speak(
    started: Started, *, principal: Principal, write: Callable[[Sent], bytes], style: Style
) -> AsyncGenerator[bytes, None]:
    """The turn's answer, from its beginning or from where the client was, to its end."""
    await leave_thread()
    answer = Answer(
        started.turn_id,
        conversation_id=started.conversation_id,
        begin=started.begin,
        resume=started.resume,
        cached=started.cached,
        style=style,
    )
    for sent in answer.opened():
        yield write(sent)  # as text it is empty, and brings the headers on their way all the same
    try:
        frames = follow_turn(
            started.turn_id,
            conversation_id=started.conversation_id,
            hub=engine.ensure_started().hub,
            after=started.begin,
            principal=principal,
        )
        async with aclosing(frames):
            async for frame in frames:
                if chunk := b"".join(map(write, answer.take(frame))):
                    yield chunk
                if answer.over:
                    return
    except ChatError as error:
        yield write(Sent(ErrorFrame(data=errors.of_refusal(error))))
