"""The door for programs that want a whole answer: one POST starts a turn and waits for its end."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from access.principals import Scope
from chat.lightspeed.request import ChatRequest, asked_in
from chat.rest.answers import FAILURES, AnswerBody, answer
from chat.rest.api import ApiView
from chat.rest.asking import headers_of
from streaming.turns import start_turn
from web.schema import KEYED, REFUSED_TURN, describes


class Chat(ApiView):
    """`ai/chat/`"""

    @describes({200: AnswerBody}, body=ChatRequest, headers=KEYED, refusals=(*REFUSED_TURN, *FAILURES))
    def post(self, request: Request) -> HttpResponse:
        """Ask, and wait for the answer; the same `Idempotency-Key` waits for the same turn, or gets what is stored."""
        self.principal.require(Scope.READ)
        asked = asked_in(request, principal=self.principal)
        started = start_turn(self.principal, asked.conversation_id, asked.order)
        conversation_id, ended = started.conversation_id, started.ended
        response = answer(started.turn_id, conversation_id=conversation_id, ended=ended, principal=self.principal)
        for name, value in headers_of(started).items():
            response[name] = value
        return response
