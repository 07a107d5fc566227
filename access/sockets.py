"""How sockets learn who asks: an API key in a header, or a session cookie from an allowed page. Never the URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from access import keys, origins
from access.errors import Unauthenticated
from access.principals import Principal, principal_of_session


class OriginRefused(Exception):
    """A page of another site tries to use a session; it gets no socket, and no hint why."""


def principal_for_scope(scope: Mapping[str, Any]) -> Principal:
    """Who opens this socket. Uses the database: not for the event loop.

    Expects `AuthMiddlewareStack` around it. Raises `Unauthenticated` or `OriginRefused`.
    """
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    text = keys.key_in(headers)
    if text is not None:
        return keys.principal_of_key(keys.verify(text))
    origin = headers.get("origin")
    allowed = origin is not None and origins.is_allowed(origin, headers=headers, scheme=scope.get("scheme", "ws"))
    if origin is not None and not allowed:  # before the session is looked at: no page learns if one is signed in
        raise OriginRefused
    user = scope.get("user")
    if user is None or not user.is_authenticated or not user.is_active:
        raise Unauthenticated
    if not allowed:
        raise OriginRefused
    return principal_of_session(user, session_key=scope["session"].session_key)
