"""What a provider says went wrong, as one of our typed errors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from llm.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextTooLong,
    ImageRefused,
    ModelError,
    NotStreaming,
    RateLimited,
    Unavailable,
)
from llm.types import Json

_TOO_LONG_CODES = {"context_length_exceeded", "context_window_exceeded"}
_TOO_LONG_WORDS = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|prompt is too long|input is too long|too many (input )?tokens"
    r"|reduce the length",
    re.IGNORECASE,
)
_IMAGE_WORDS = re.compile(r"image_url|(?<![\w-])images?(?![\w-])", re.IGNORECASE)
"""Not as a part of a model's name."""
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "not_found_error": 404,
    "model_not_found": 404,
    "content_filter": 400,
}


def error_of_status(status: int, *, headers: Mapping[str, str], body: Json) -> ModelError:
    """For an answer that is not 200. `body` is its JSON, or None."""
    told = _told(body)
    code = str(told.get("code") or told.get("type") or "")
    if status == 429:
        error = RateLimited(status=status, retry_after=_retry_after(headers))
        error.retryable = "insufficient_quota" not in (told.get("code"), told.get("type"))
        return error
    if status in (401, 403):
        return AuthenticationFailed(status=status)
    if status in (400, 413, 422) and _is_too_long(code, message=told.get("message")):
        return ContextTooLong(status=status)
    if status == 408 or status >= 500:
        return Unavailable(status=status, retry_after=_retry_after(headers))
    if status in (400, 404, 415, 422) and _IMAGE_WORDS.search(str(told.get("message"))):
        return ImageRefused(status=status)
    return BadRequest(status=status)


def error_in_stream(error: Json) -> ModelError:
    """For an `{"error": …}` event in a stream that began well. Without a known code it counts as unavailable."""
    told = _told({"error": error})
    for said in (told.get("code"), told.get("status"), told.get("type")):
        status = _as_status(said)
        if status is not None:
            return error_of_status(status, headers={}, body={"error": error})
    if _is_too_long("", message=told.get("message")):
        return ContextTooLong()
    return Unavailable()


def error_of_json(body: Json) -> ModelError:
    """For a JSON answer of status 200 where a stream was asked for."""
    if isinstance(body, dict) and body.get("error"):
        return error_in_stream(body["error"])
    return NotStreaming()


def _told(body: Json) -> dict[str, Any]:
    """The error object, wherever in the body it is."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def _is_too_long(code: str, *, message: Json) -> bool:
    return code in _TOO_LONG_CODES or (isinstance(message, str) and _TOO_LONG_WORDS.search(message) is not None)


def _as_status(said: Json) -> int | None:
    if isinstance(said, str):
        return int(said) if re.fullmatch("[45][0-9][0-9]", said) else _STATUS_OF_CODE.get(said.lower())
    return said if isinstance(said, int) and 400 <= said <= 599 else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `Retry-After` as a number or an HTTP date (RFC 9110 §10.2.3)."""
    said = headers.get("Retry-After", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            when = parsedate_to_datetime(said)
        except (ValueError, TypeError):
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
