"""What goes wrong, in lightspeed's words: `response` says what kind of error it is, `cause` begins with our code."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.exceptions import ValidationError

from chat.lightspeed.frames import ErrorData
from chat.rest import problems
from history.errors import ChatError
from history.events import TurnError
from streaming import ends
from web.statuses import OF_FAILED_TURN, STATUS

KINDS = {
    HTTPStatus.BAD_REQUEST: "The request is malformed",
    HTTPStatus.UNAUTHORIZED: "Missing or invalid credentials",
    HTTPStatus.FORBIDDEN: "This is not allowed",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.CONFLICT: "An answer is in progress",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Prompt is too long",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid attribute value",
    HTTPStatus.TOO_MANY_REQUESTS: "The quota has been exceeded",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Internal server error",
    HTTPStatus.BAD_GATEWAY: "The model failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service is unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "The model took too long",
}
UNKNOWN_FIELD = "Unknown field."


class Reason(msgspec.Struct, frozen=True):
    """`response` says what kind of error it is, `cause` begins with its code and then says what to do."""

    response: str
    cause: str


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was refused. A field that is not known stands beside `detail`, by its name."""

    detail: Reason


def _error(status: HTTPStatus, code: str, sentence: str) -> ErrorData:
    return ErrorData(status_code=status, response=KINDS.get(status, status.phrase), cause=f"{code}: {sentence}")


RESTARTED = _error(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "answer_restarted",
    "A part of the answer that was sent does not hold any more. Drop what you have of it and send the request again.",
)
"""For a client that can only append and has what was withdrawn."""


def of_turn(error: TurnError | None) -> ErrorData:
    """Why a turn failed."""
    code, message = (error.code, error.message) if error else (ends.INTERNAL.code, ends.INTERNAL.message)
    return _error(OF_FAILED_TURN.get(code, HTTPStatus.BAD_GATEWAY), code, message)


def of_refusal(error: ChatError) -> ErrorData:
    """Why a stream cannot go on."""
    return _error(STATUS[error.code], error.code, error.message)


def respond(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The exception handler of these views: the site's refusals, but 422 for what does not fit its field."""
    refused = problems.respond(error, context)
    told = msgspec.json.decode(refused.content)
    status, unknown = HTTPStatus(refused.status_code), _unknown_field(error)
    if isinstance(error, ValidationError) and unknown is None:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    sentence = f"{told['detail']} Turn: {told['turn']}" if "turn" in told else told["detail"]
    data = _error(status, told["code"], sentence)
    named = {} if unknown is None else {unknown: UNKNOWN_FIELD}
    body = {**named, **msgspec.to_builtins(Refusal(Reason(data.response, data.cause)))}
    headers = {name: value for name, value in refused.items() if name != "Content-Type"}
    return HttpResponse(msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)


def _unknown_field(error: Exception) -> str | None:
    if isinstance(error, ValidationError) and isinstance(error.detail, dict):
        return next((field for field, complaints in error.detail.items() if complaints == [UNKNOWN_FIELD]), None)
    return None
