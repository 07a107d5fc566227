"""The HTTP status of every refusal and of every way in which a turn can fail."""

from __future__ import annotations

from http import HTTPStatus

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
    "image_refused": HTTPStatus.UNPROCESSABLE_ENTITY,
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
