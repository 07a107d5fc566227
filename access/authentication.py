"""How the REST views learn who asks: `request.auth` is always a `Principal`."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from access import keys
from access.errors import Unauthenticated
from access.principals import Principal, principal_of_session


class ApiKeyAuthentication(BaseAuthentication):
    """An API key in a header. A wrong one is refused, even beside a good session."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        try:
            text = keys.key_in({name.lower(): value for name, value in request.headers.items()})
            if text is None:
                return None
            row = keys.verify(text)
        except Unauthenticated as error:
            raise AuthenticationFailed(error.message, code=error.code) from None
        return row.owner, keys.principal_of_key(row)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class BrowserAuthentication(SessionAuthentication):
    """The session of a signed-in browser; changes need the CSRF token and an allowed Origin."""

    def authenticate(self, request: Request) -> tuple[Any, Principal] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user, _ = found
        return user, principal_of_session(user, session_key=request.session.session_key)


def principal_of(request: Request) -> Principal:
    """Who asks. Raises DRF's `NotAuthenticated`."""
    if not isinstance(request.auth, Principal):
        raise NotAuthenticated
    return request.auth
