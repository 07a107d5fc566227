"""Every refusal of the REST views as `application/problem+json` (RFC 9457); nothing internal gets out."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework.exceptions import APIException, ValidationError

from access.errors import RateLimited
from history.errors import ChatError, NotFound
from streaming.errors import Busy, TurnActive

logger = logging.getLogger(__name__)

STATUS = {
    "invalid_request": HTTPStatus.BAD_REQUEST,
    "invalid_cursor": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "access_ended": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "unknown_model": HTTPStatus.NOT_FOUND,
    "fenced": HTTPStatus.CONFLICT,
    "turn_active": HTTPStatus.CONFLICT,
    "profile_exists": HTTPStatus.CONFLICT,
    "profile_read_only": HTTPStatus.CONFLICT,
    "text_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "request_conflict": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "draining": HTTPStatus.SERVICE_UNAVAILABLE,
    "still_running": HTTPStatus.GATEWAY_TIMEOUT,
}
"""The HTTP status of each error code that a request can be refused with."""

OF_FAILED_TURN = {
    "unknown_model": HTTPStatus.NOT_FOUND,
    "context_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "bad_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "quota_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "not_streaming": HTTPStatus.INTERNAL_SERVER_ERROR,
    "model_error": HTTPStatus.BAD_GATEWAY,
    "truncated": HTTPStatus.BAD_GATEWAY,
    "empty_reply": HTTPStatus.BAD_GATEWAY,
    "malformed": HTTPStatus.BAD_GATEWAY,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "authentication_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "interrupted": HTTPStatus.SERVICE_UNAVAILABLE,
    "stalled": HTTPStatus.GATEWAY_TIMEOUT,
    "timed_out": HTTPStatus.GATEWAY_TIMEOUT,
}
"""The HTTP status of a turn that ended with this error, for callers who wait for the whole answer. One that is not
here, because another version wrote it, is a 502."""

FRAMEWORK = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.UNAUTHORIZED: "unauthenticated",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}
"""The code of what the framework itself refuses."""

RETRY_AFTER = {"rate_limited": 5, "busy": 5, "draining": 5, "still_running": 5}
"""Seconds after which to try again, unless the refusal itself knows better."""


def respond(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The exception handler of the REST views."""
    match error:
        case Http404():
            return _refused(NotFound())
        case ChatError():
            return _refused(error)
        case PermissionDenied():
            return problem("forbidden", HTTPStatus.FORBIDDEN, detail="You may not do that.")
        case ValidationError():
            return problem("invalid_request", HTTPStatus.BAD_REQUEST, detail=_first(error.detail))
        case APIException():
            return _by_framework(error)
        case OperationalError() | InterfaceError():  # the database is away, or has no connection left
            logger.error("the database could not be asked", exc_info=error)
            return _refused(Busy())
        case _:
            logger.error("a request failed", exc_info=error)
            sentence = "Something went wrong on the server. Please try again."
            return problem("internal", HTTPStatus.INTERNAL_SERVER_ERROR, detail=sentence)


def _refused(error: ChatError) -> HttpResponse:
    more = {"turn": error.turn_id} if isinstance(error, TurnActive) else {}
    response = problem(error.code, STATUS[error.code], detail=error.message, **more)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        response["Retry-After"] = str(error.retry_after)
    return response


def _by_framework(error: APIException) -> HttpResponse:
    status = HTTPStatus(error.status_code)
    response = problem(FRAMEWORK.get(status, "error"), status, detail=str(error.detail))
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response


def problem(code: str, status: HTTPStatus, *, detail: str, **more: str) -> HttpResponse:
    """The response to a request that cannot be answered; `more` are members of the problem beside the standard's."""
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail, "code": code, **more}
    response = HttpResponse(msgspec.json.encode(body), status=status, content_type="application/problem+json")
    if code in RETRY_AFTER:
        response["Retry-After"] = str(RETRY_AFTER[code])
    return response


def _first(detail: Any) -> str:
    """The first of a serializer's complaints, behind the name of its field."""
    match detail:
        case {**fields} if fields:
            name, complaints = next(iter(fields.items()))
            return _first(complaints) if name == "non_field_errors" else f"{name}: {_first(complaints)}"
        case [complaint, *_]:
            return _first(complaint)
        case _:
            return str(detail)
