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
from web.statuses import FRAMEWORK, RETRY_AFTER, STATUS

logger = logging.getLogger(__name__)


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
