"""OpenAI's `GET /v1/models` and `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from access.authentication import ApiKeyAuthentication
from access.principals import Principal, Scope
from gateway import answering, errors
from gateway.chunks import ChatCompletion, Chunk
from gateway.errors import Envelope
from gateway.offers import Model, Models, naming, offer, offers
from gateway.quotas import headers_for
from gateway.request import ON_DISCONNECT, ChatCompletionRequest, RequestParser, asked_in
from history.conf import chat_settings
from history.errors import NotFound
from streaming.turns import Started, start_turn
from web.schema import (
    EVENT_STREAM,
    JSON,
    KEYED,
    OF_BODIES,
    REFUSALS,
    REFUSED_TURN,
    describes,
    of_struct,
    stream_of,
)
from web.statuses import OF_FAILED_TURN
from web.views import DoorView
from web.waiting import Pending

REFUSED: Mapping[Any, Any] = dict.fromkeys(REFUSALS, Envelope)
FAILED = (*OF_BODIES, *REFUSED_TURN, *OF_FAILED_TURN.values(), HTTPStatus.GATEWAY_TIMEOUT)
LEAVING = {ON_DISCONNECT: "`cancel`: the turn is stopped if the caller leaves; otherwise it goes on."}
ANSWERED: Mapping[Any, Any] = {
    200: ChatCompletion,
    (200, EVENT_STREAM): stream_of("The answer as it is written, if `stream` says so.", frame=Chunk),
}


class GatewayView(DoorView):
    """For API keys alone: a browser's session is none. Refuses in OpenAI's words."""

    authentication_classes = (ApiKeyAuthentication,)
    payer: Principal | None = None
    """Who was let in. Asking the request would have it look once more for a key that could not be looked for."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.payer = self.principal

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Every answer to a key says what is left of its limits."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.payer is not None:
            for name, value in headers_for(self.payer).items():
                response[name] = value
        return response

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], HttpResponse]:
        return errors.respond


class GatewayModels(GatewayView):
    """`models`"""

    @describes({200: Models, **REFUSED})
    def get(self, request: Request) -> Response:
        """The models that the key may use."""
        self.principal.require(Scope.READ)
        return Response(msgspec.to_builtins(offers(self.principal)))


class GatewayModel(GatewayView):
    """`models/<id>`"""

    @describes({200: Model, **REFUSED})
    def get(self, request: Request, model: str) -> Response:
        """One of them."""
        self.principal.require(Scope.READ)
        return Response(msgspec.to_builtins(offer(self.principal, model=model)))


class ChatCompletions(GatewayView):
    """`chat/completions`"""

    parser_classes = (RequestParser,)

    @describes(
        {**ANSWERED, **REFUSED, **dict.fromkeys(FAILED, Envelope)},
        body={JSON: of_struct(ChatCompletionRequest)},
        headers={**KEYED, **LEAVING},
    )
    def post(self, request: Request) -> HttpResponse:
        """Ask, and get the answer as it is written, or wait for all of it."""
        self.principal.require(Scope.CHAT)
        self.principal.require(Scope.READ)
        asked = asked_in(request.data, headers=request.headers)
        with naming(asked.model):
            started = start_turn(self.principal, asked.conversation_id, asked.order)
        answer = answering.stream if asked.streams else answering.whole
        pending = Pending(
            partial(answer, started, asked=asked, principal=self.principal),
            abandon=partial(answering.leave, started, asked=asked, principal=self.principal),
        )
        for name, value in headers_of(started).items():
            pending[name] = value
        return pending


class Nothing(GatewayView):
    """Whatever else is asked for below the address of the gateway."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound("There is nothing at this address. There are models and chat/completions.")


def headers_of(started: Started) -> dict[str, str]:
    """Which turn of which conversation it is, and whether its answer was there already."""
    replayed = {"Idempotency-Replayed": "true"} if started.cached else {}
    return {
        "X-Request-ID": str(started.turn_id),
        chat_settings().gateway_conversation_header: str(started.conversation_id),
        **replayed,
    }
