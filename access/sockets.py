"""How sockets learn who asks: an API key in a header, or a session cookie from an allowed page. Never the URL."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from access import keys, origins
from access.errors import Unauthenticated
from access.principals import Principal, principal_of_session


class OriginRefused(Exception):
    """A page of another site tries to use a session; it gets no socket, and no hint why."""


def principal_for_scope(scope: Mapping[str, Any]) -> Principal:
    """Who opens this socket. Uses the database: not for the event loop. Raises `Unauthenticated` or `OriginRefused`."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    text = keys.key_in(headers)
    if text is not None:
        return keys.principal_of_key(keys.verify(text))
    origin = headers.get("origin")
    allowed = origin is not None and origins.is_allowed(origin, headers=headers, scheme=scope.get("scheme", "ws"))
    if origin is not None and not allowed:  # before the session is looked at: no page learns if one is signed in
        raise OriginRefused
    session = _session(headers)
    user = _user(session)
    if not user.is_authenticated or not user.is_active:
        raise Unauthenticated
    if not allowed:
        raise OriginRefused
    return principal_of_session(user, session_key=session.session_key)


def _session(headers: Mapping[str, str]) -> SessionBase:
    """The session of the cookie. Channels' middleware would find it too, but stays in the way of every frame."""
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store(parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME))


def _user(session: SessionBase) -> Any:
    """Whom Django says the session is of, by the rules it has for requests. It gets a copy: after a change of the
    site's secret key it gives a session another key, and a socket cannot bring that to the browser."""
    request = HttpRequest()
    request.session = CookieSessions()
    request.session.update(dict(session.items()))
    return get_user(request)
