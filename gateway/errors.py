"""What goes wrong, in OpenAI's words: one envelope, whether it is a response or the last event of a stream."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework.exceptions import APIException

from access.errors import RateLimited
from history.errors import ChatError, NotFound
from history.events import TurnError
from streaming.errors import Busy, StillRunning, TurnActive
from web.statuses import FRAMEWORK, OF_FAILED_TURN, RETRY_AFTER, STATUS

logger = logging.getLogger(__name__)

WORDS = {
    "unauthenticated": "invalid_api_key",
    "access_ended": "invalid_api_key",
    "unknown_model": "model_not_found",
    "rate_limited": "rate_limit_exceeded",
    "quota_exceeded": "insufficient_quota",
    "context_too_long": "context_length_exceeded",
}
"""What OpenAI calls what we call otherwise. All other codes are ours."""
MALFORMED = ("text_too_long", "context_too_long", "bad_request", "image_refused")
"""Codes that OpenAI answers with 400, for which its clients have a class."""
WAIT = {**RETRY_AFTER, "quota_exceeded": 5}
"""Every 429 says when to come back: then a new turn is refused, and told for how long."""
NO_RETRY = {"X-Should-Retry": "false"}
"""Tells OpenAI's clients, which send again on their own, that it would not help."""
RETRY = {"X-Should-Retry": "true"}
SOON = 120
"""Seconds that they wait if `Retry-After` says so. Told of more, some ask again at once."""


Fault: TypeAlias = Literal["invalid_value", "missing_required_parameter", "unsupported_parameter"]
"""What can be wrong with a field."""
OTHER = "error"
"""The code of what the framework refuses and has no name here."""


class BadParameter(Exception):
    """A field of the request that is wrong, or that cannot be honoured; `param` says where it is."""

    def __init__(self, sentence: str, *, param: str | None = None, code: Fault = "invalid_value") -> None:
        super().__init__(sentence)
        self.param = param
        self.code = code


class TurnFailed(Exception):
    """The turn ended without an answer."""

    def __init__(self, error: TurnError) -> None:
        super().__init__(error.message)
        self.error = error


RESTARTED = TurnError(
    code="answer_restarted",
    message="A part of the answer that was sent does not hold any more. Drop what you have of it and send the request"
    " again, with the same Idempotency-Key, if it had one.",
)
"""For a client that can only append and has what was withdrawn."""
CANCELLED = TurnError(code="cancelled", message="The answer was stopped before its end.")
OF_TURN = {**OF_FAILED_TURN, RESTARTED.code: HTTPStatus.SERVICE_UNAVAILABLE, CANCELLED.code: HTTPStatus.CONFLICT}


class ErrorBody(msgspec.Struct, frozen=True):
    """An error. `code` is the same for the same reason, for ever; `param` names the field that is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Envelope(msgspec.Struct, frozen=True):
    """Why a request was refused, or why its answer cannot go on."""

    error: ErrorBody


class Refusal(NamedTuple):
    """An error as it is told: as a response with this status and these headers, or as an event."""

    status: HTTPStatus
    body: Envelope
    headers: Mapping[str, str]


def refusal(error: Exception, *, keyed: bool = False) -> Refusal:
    """What to tell of an error. `keyed`: the request has an `Idempotency-Key`, so that sending it again gets the same
    turn, which helps if that is still running and does not if it has failed."""
    match error:
        case TurnFailed(error=failure):
            headers = NO_RETRY if failure is CANCELLED or (keyed and failure is not RESTARTED) else {}
            return _told(failure.code, OF_TURN.get(failure.code, HTTPStatus.BAD_GATEWAY), str(error), headers=headers)
        case StillRunning(turn_id=turn_id):
            sentence = f"{error.message} Turn: {turn_id}"
            return _told(error.code, STATUS[error.code], sentence, headers=RETRY if keyed else NO_RETRY)
        case TurnActive(turn_id=turn_id):
            return _told(error.code, STATUS[error.code], f"{error.message} Turn: {turn_id}")
        case RateLimited(retry_after=seconds):
            headers = {"Retry-After": str(seconds), **({} if seconds <= SOON else NO_RETRY)}
            return _told(error.code, STATUS[error.code], error.message, headers=headers)
        case ChatError():
            return _told(error.code, STATUS[error.code], error.message)
        case BadParameter(code=code, param=param):
            return _told(code, HTTPStatus.BAD_REQUEST, str(error), param=param)
        case _:
            return _foreign(error)


def _foreign(error: Exception) -> Refusal:
    """What others raise."""
    match error:
        case Http404():
            return refusal(NotFound())
        case PermissionDenied():
            return _told("forbidden", HTTPStatus.FORBIDDEN, "You may not do that.")
        case APIException():
            status = HTTPStatus(error.status_code)
            headers = {"WWW-Authenticate": header} if (header := getattr(error, "auth_header", None)) else {}
            return _told(FRAMEWORK.get(status, OTHER), status, str(error.detail), headers=headers)
        case OperationalError() | InterfaceError():  # the database is away, or has no connection left
            logger.error("the database could not be asked", exc_info=error)
            return refusal(Busy())
        case _:
            logger.error("a request failed", exc_info=error)
            sentence = "Something went wrong on the server. Please try again."
            return _told("internal", HTTPStatus.INTERNAL_SERVER_ERROR, sentence)


def respond(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The exception handler of these views."""
    return response(refusal(error))


def response(refused: Refusal) -> HttpResponse:
    """A refusal before anything was sent."""
    return HttpResponse(
        msgspec.json.encode(refused.body),
        status=refused.status,
        content_type="application/json",
        headers=dict(refused.headers),
    )


def event(refused: Refusal) -> bytes:
    """A refusal in mid-stream, after which nothing follows."""
    return b"data: %b\n\n" % msgspec.json.encode(refused.body)


def _told(
    code: str, status: HTTPStatus, sentence: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Refusal:
    word = WORDS.get(code, code)
    told = HTTPStatus.BAD_REQUEST if code in MALFORMED else status
    wait = {"Retry-After": str(WAIT[code])} if code in WAIT else {}
    who = {"WWW-Authenticate": "Bearer"} if told == HTTPStatus.UNAUTHORIZED else {}
    body = Envelope(ErrorBody(message=sentence, type=_type(told, word), param=param, code=word))
    return Refusal(told, body, {**wait, **who, **(headers or {})})


def _type(status: HTTPStatus, word: str) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return word if word == "insufficient_quota" else "rate_limit_error"
    return "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
