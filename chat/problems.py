"""Every refusal of the REST views as `application/problem+json` (RFC 9457); nothing internal gets out."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

from history.errors import ChatError, NotFound
from streaming.errors import TurnActive

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
    "text_too_long": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "request_conflict": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "draining": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The HTTP status of each error code that a request can be refused with."""

FRAMEWORK = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.UNAUTHORIZED: "unauthenticated",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limited",
}
"""The code of what the framework itself refuses."""

RETRY_AFTER = {"rate_limited": 5, "busy": 5, "draining": 5}
"""Seconds after which to try again."""


def respond(error: Exception, context: dict[str, Any]) -> Response:
    """The exception handler of the REST views."""
    match error:
        case Http404():
            return _refused(NotFound())
        case ChatError():
            return _refused(error)
        case PermissionDenied():
            return _problem("forbidden", HTTPStatus.FORBIDDEN, detail="You may not do that.")
        case ValidationError():
            return _problem("invalid_request", HTTPStatus.BAD_REQUEST, detail=_first(error.detail))
        case APIException():
            return _by_framework(error)
        case _:
            logger.error("a request failed", exc_info=error)
            sentence = "Something went wrong on the server. Please try again."
            return _problem("internal", HTTPStatus.INTERNAL_SERVER_ERROR, detail=sentence)


def _refused(error: ChatError) -> Response:
    more = {"turn": error.turn_id} if isinstance(error, TurnActive) else {}
    response = _problem(error.code, STATUS[error.code], detail=error.message, **more)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _by_framework(error: APIException) -> Response:
    status = HTTPStatus(error.status_code)
    response = _problem(FRAMEWORK.get(status, "error"), status, detail=str(error.detail))
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    return response


def _problem(code: str, status: HTTPStatus, *, detail: str, **more: str) -> Response:
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail, "code": code, **more}
    response = Response(body, status=status, content_type="application/problem+json")
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
