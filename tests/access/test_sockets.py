"""Who opens a socket: the same keys as over HTTP, or a session from an allowed page; nothing in a URL."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, override_settings

from access import selectors
from access.errors import Unauthenticated
from access.keys import create_key
from access.principals import Scope
from access.sockets import OriginRefused, principal_for_scope

OWN = "http://testserver"


def scope(
    user: User | AnonymousUser | None = None, /, *, scheme: str = "ws", query: str = "", **headers: str
) -> dict[str, Any]:
    """What channels hands to a consumer; with a session if `user` is somebody."""
    named = {"host": "testserver", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if isinstance(user, User):
        named["cookie"] = f"theme=dark; sessionid={session_of(user)}"
    return {
        "type": "websocket",
        "scheme": scheme,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }


def session_of(user: User) -> str:
    """The key of a new session."""
    browser = Client()
    browser.force_login(user)
    return browser.cookies["sessionid"].value


@pytest.mark.parametrize("form", ["authorization", "x_api_key", "x_session_api_key"])
def test_a_key_opens_a_socket_in_every_header_form(user: User, form: str) -> None:
    key = create_key(user)
    value = f"Bearer {key.text}" if form == "authorization" else key.text

    principal = principal_for_scope(scope(None, **{form: value}))

    assert (principal.user_id, principal.key_id) == (user.pk, key.row.pk)


def test_a_key_needs_no_origin_and_no_session_helps_a_wrong_one(user: User) -> None:
    key = create_key(user)

    assert principal_for_scope(scope(x_api_key=key.text, origin="https://evil.example")).user_id == user.pk
    with pytest.raises(Unauthenticated):
        principal_for_scope(scope(user, x_api_key="vb_0_0", origin=OWN))


def test_a_key_in_the_url_opens_nothing(user: User) -> None:
    key = create_key(user)

    with pytest.raises(Unauthenticated):
        principal_for_scope(scope(query=f"api_key={key.text}&x-api-key={key.text}&token={key.text}"))


def test_a_session_opens_a_socket_from_the_sites_own_page(user: User) -> None:
    opened = scope(user, origin=OWN)

    principal = principal_for_scope(opened)

    assert principal.session_key is not None
    assert principal.session_key in dict(opened["headers"])[b"cookie"].decode()
    assert (principal.user_id, principal.scopes) == (user.pk, frozenset({Scope.READ, Scope.CHAT}))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "*",
        "",
        "http://testserver.evil.example",
        "http://eviltestserver",
        "http://testserver:8000",
        "https://testserver",
        "http://testserver/",
        "HTTP://TESTSERVER",
        "http://user@testserver",
        "testserver",
    ],
)
def test_a_session_opens_nothing_from_any_other_page(user: User, origin: str) -> None:
    with pytest.raises(OriginRefused):
        principal_for_scope(scope(user, origin=origin))


def test_a_session_without_an_origin_is_no_browser(user: User) -> None:
    with pytest.raises(OriginRefused):
        principal_for_scope(scope(user))


def test_a_page_of_another_site_does_not_learn_whether_one_is_signed_in(user: User) -> None:
    for whoever in (user, AnonymousUser()):
        with pytest.raises(OriginRefused):
            principal_for_scope(scope(whoever, origin="https://evil.example"))


def test_the_settings_list_further_origins_exactly(user: User) -> None:
    with override_settings(CHAT={"ALLOWED_ORIGINS": ("https://chat.example.org", "https://*.example.net")}):
        assert principal_for_scope(scope(user, origin="https://chat.example.org")).user_id == user.pk
        for origin in ("https://x.example.net", "https://chat.example.org:444", "http://chat.example.org"):
            with pytest.raises(OriginRefused):
                principal_for_scope(scope(user, origin=origin))


def test_a_rebound_host_is_not_the_sites_own(user: User) -> None:
    with override_settings(ALLOWED_HOSTS=["testserver"]), pytest.raises(OriginRefused):
        principal_for_scope(scope(user, host="evil.example", origin="http://evil.example"))


def test_in_debug_without_hosts_the_machine_itself_is_allowed(user: User) -> None:
    with override_settings(ALLOWED_HOSTS=[], DEBUG=True):
        allowed = scope(user, host="127.0.0.1:8123", origin="http://127.0.0.1:8123")
        assert principal_for_scope(allowed).user_id == user.pk
    with override_settings(ALLOWED_HOSTS=[], DEBUG=False), pytest.raises(OriginRefused):
        principal_for_scope(allowed)


def test_over_tls_the_page_must_be_too(user: User) -> None:
    assert principal_for_scope(scope(user, scheme="wss", origin="https://testserver")).user_id == user.pk
    with pytest.raises(OriginRefused):
        principal_for_scope(scope(user, scheme="wss", origin=OWN))


def test_behind_a_trusted_proxy_its_header_says_whether_it_is_tls(user: User) -> None:
    proxied = scope(user, origin="https://testserver", x_forwarded_proto="https")

    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        assert principal_for_scope(proxied).user_id == user.pk
    with pytest.raises(OriginRefused):
        principal_for_scope(proxied)


def test_nobody_and_an_inactive_user_get_nothing(user: User) -> None:
    left = scope(user, origin=OWN)
    user.is_active = False
    user.save()

    for opened in (scope(AnonymousUser(), origin=OWN), left):
        with pytest.raises(Unauthenticated):
            principal_for_scope(opened)


@pytest.mark.parametrize("cookie", ["", "sessionid=", "sessionid=nonsense", "sessionid=" + "x" * 32, "\xff=\xfe"])
def test_a_cookie_that_is_no_session_is_nobody(db: None, cookie: str) -> None:
    with pytest.raises(Unauthenticated):
        principal_for_scope({**scope(origin=OWN), "headers": [
            (b"host", b"testserver"), (b"origin", OWN.encode()), (b"cookie", cookie.encode("latin-1")),
        ]})  # fmt: skip


def test_a_session_that_was_signed_out_is_nobody(user: User) -> None:
    left = scope(user, origin=OWN)
    SessionStore(dict(left["headers"])[b"cookie"].decode().rpartition("=")[2]).flush()

    with pytest.raises(Unauthenticated):
        principal_for_scope(left)


def test_a_new_secret_key_of_the_site_costs_no_browser_its_session(user: User) -> None:
    """Django gives such a session another key, which only a response could bring to the browser."""
    browser = Client()
    browser.force_login(user)
    key = browser.cookies["sessionid"].value

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        principal = principal_for_scope(scope(origin=OWN, cookie=f"sessionid={key}"))

        assert principal.session_key == key
        assert selectors.still_valid([principal]) == {principal}
        assert browser.get("/api/v1/conversations/").status_code == 200
