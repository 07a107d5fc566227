"""Every address of the chat: who is let in, and what everybody else gets to hear."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from django.test import Client, override_settings
from django.urls import URLPattern, path
from rest_framework.request import Request
from rest_framework.response import Response

from access.keys import create_key
from access.principals import Scope
from chat import urls
from chat.rest.api import ApiView
from history.errors import ChatError
from history.models import Conversation
from streaming.errors import TurnActive
from tests.chat.conftest import CONVERSATIONS
from web.statuses import RETRY_AFTER, STATUS

JSON = "application/json"
NO_REQUEST = {"error", "invalid_frame"}
"""Codes that no REST view answers with: the base of all errors, and what only a socket can be sent."""

API = {
    "conversations": {"get", "post"},
    "conversation": {"get", "patch", "delete"},
    "events": {"get"},
    "stream": {"get"},
    "logs": {"get"},
    "log": {"get"},
    "turns": {"get"},
    "feedback": {"get"},
    "turn": {"get"},
    "turn_stop": {"post"},
    "turn_retry": {"post"},
    "give_feedback": {"post"},
    "response": {"get"},
    "turn_stream": {"get"},
    "models": {"get"},
    "profiles": {"get"},
    "profile": {"get", "post", "patch", "delete"},
    "schema": {"get"},
    "chat": {"post"},
    "streaming_chat": {"post"},
    "interrupt": {"post"},
    "api": set[str](),
    "nothing": set[str](),
}
PAGES = {"home", "interface", "conversation_page", "login", "logout"}
LIGHTSPEED = {"streaming_chat", "interrupt"}
"""They refuse in lightspeed's words."""
METHODS = ("get", "post", "put", "patch", "delete", "options", "trace")


def address(pattern: URLPattern) -> str:
    """An address that this pattern answers."""
    written = str(pattern.pattern).removeprefix("^")
    samples = {r"(?P<rest>[\s\S]+)": "more/of%0Ait", "(?P<name>.+?)/?$": "fast"}
    for place in ("<uuid:conversation_id>", "<uuid:turn_id>"):
        samples[place] = str(uuid4())
    for place, sample in samples.items():
        written = written.replace(place, sample)
    return "/" + written


def errors(base: type[ChatError] = ChatError) -> Iterator[type[ChatError]]:
    """Every refusal there is."""
    for error in base.__subclasses__():
        yield error
        yield from errors(error)


def test_every_address_has_a_rule_here() -> None:
    assert {pattern.name for pattern in urls.urlpatterns} == API.keys() | PAGES


@pytest.mark.django_db
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", [pattern for pattern in urls.urlpatterns if pattern.name in API])
def test_a_stranger_gets_the_same_401_at_every_door(client: Client, pattern: URLPattern, method: str) -> None:
    response = client.generic(method, address(pattern))

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"
    if pattern.name in LIGHTSPEED:
        assert response.json()["detail"]["cause"].startswith("unauthenticated: ")
    else:
        assert response["Content-Type"] == "application/problem+json"
        assert response.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", [pattern for pattern in urls.urlpatterns if pattern.name in API])
def test_only_the_listed_methods_are_answered(admin_user: User, pattern: URLPattern, method: str) -> None:
    client = Client(headers={"X-API-Key": create_key(admin_user, scopes=list(Scope)).text})

    response = client.generic(method, address(pattern))

    listed = API[str(pattern.name)]
    expected = 404 if not listed else 405
    assert (response.status_code == expected) == (method not in listed) or response.status_code == 404


@pytest.mark.parametrize("scopes", [(Scope.READ,), (Scope.CHAT,)])
def test_a_key_does_no_more_than_its_scopes_say(user: User, conversation: Conversation, scopes: tuple[Scope]) -> None:
    client = Client(headers={"X-API-Key": create_key(user, scopes=scopes).text})

    read = client.get(CONVERSATIONS).status_code
    written = [
        client.post(CONVERSATIONS, {}, JSON).status_code,
        client.patch(f"{CONVERSATIONS}{conversation.pk}/", {"title": "x"}, JSON).status_code,
        client.delete(f"{CONVERSATIONS}{conversation.pk}/").status_code,
    ]

    assert (read, written) == ((200, [403] * 3) if scopes == (Scope.READ,) else (403, [201, 200, 204]))


def test_a_session_needs_the_csrf_token_to_change_something(user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.get("/")
    token = client.cookies["csrftoken"].value

    without = client.post(CONVERSATIONS, {}, JSON)
    with_it = client.post(CONVERSATIONS, {}, JSON, headers={"X-CSRFToken": token})

    assert (without.status_code, without.json()["code"]) == (403, "forbidden")
    assert with_it.status_code == 201
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("form", ["Authorization", "X-API-Key", "X-Session-API-Key"])
def test_a_key_needs_none(user: User, form: str) -> None:
    key = create_key(user).text
    client = Client(enforce_csrf_checks=True, headers={form: f"Bearer {key}" if form == "Authorization" else key})

    assert client.post(CONVERSATIONS, {}, JSON).status_code == 201


def test_an_inactive_user_is_a_stranger(client: Client, user: User) -> None:
    client.force_login(user)
    User.objects.update(is_active=False)

    assert client.get(CONVERSATIONS).status_code == 401


def test_the_models_are_those_of_the_settings(ada: Client) -> None:
    profiles = [{"name": "fast", "label": "Fast one"}, {"name": "deep", "label": ""}]

    with override_settings(CHAT={"PROFILES": profiles, "DEFAULT_PROFILE": "deep"}):
        models = ada.get("/api/v1/models/").json()

    assert models[:2] == [
        {"name": "fast", "label": "Fast one", "default": False},
        {"name": "deep", "label": "deep", "default": True},
    ]
    assert [model["name"] for model in models if model["default"]] == ["deep"]


def test_answers_are_json_whatever_is_accepted_and_are_not_kept(ada: Client) -> None:
    response = ada.get(CONVERSATIONS, headers={"Accept": "text/event-stream"})

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "private, no-store"


def test_another_kind_of_body_is_refused(ada: Client) -> None:
    response = ada.post(CONVERSATIONS, {"title": "x"})

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_body_that_is_too_large_is_refused_before_it_is_parsed(ada: Client, conversation: Conversation) -> None:
    with override_settings(CHAT={"MAX_MESSAGE_BYTES": 100}):
        fits = ada.patch(f"{CONVERSATIONS}{conversation.pk}/", b'{"title": "x"}'.ljust(100), JSON)
        larger = ada.patch(f"{CONVERSATIONS}{conversation.pk}/", b'{"title": "x"}'.ljust(101), JSON)

    assert fits.status_code == 200
    assert (larger.status_code, larger.json()["code"]) == (413, "text_too_long")


def test_every_refusal_has_a_status_and_no_code_is_left_over() -> None:
    codes = {error.code for error in errors()} - NO_REQUEST

    assert codes == STATUS.keys()


class Raising(ApiView):
    """Raises what it is told to."""

    error: Exception = ChatError()

    def get(self, request: Request) -> Response:
        raise self.error


def refusal(user: User, error: Exception) -> Any:
    """How a view that raises this answers."""
    with override_settings(ROOT_URLCONF=(path("raise/", Raising.as_view(error=error)),)):
        return Client(headers={"X-API-Key": create_key(user).text}).get("/raise/")


@pytest.mark.parametrize("error", {error.code: error for error in errors() if error.code in STATUS}.values())
def test_a_refusal_is_a_problem_document(user: User, error: type[ChatError]) -> None:
    raised = error("a-turn") if issubclass(error, TurnActive) else error()

    response = refusal(user, raised)

    status = STATUS[error.code]
    assert response["Content-Type"] == "application/problem+json"
    assert response.status_code == status
    assert response.json() == {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "detail": error.__doc__,
        "code": error.code,
        **({"turn": "a-turn"} if issubclass(error, TurnActive) else {}),
    }
    assert response.headers.get("Retry-After") == ("5" if error.code in RETRY_AFTER else None)


def test_a_fault_says_nothing_about_our_inside_and_is_logged(user: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = refusal(user, RuntimeError("SELECT secret FROM /etc/passwd"))

    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert b"secret" not in response.content
    assert b"Traceback" not in response.content
    assert any(record.exc_info and "SELECT secret" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.parametrize("error", [OperationalError("secret: connection refused"), InterfaceError("secret: closed")])
def test_a_database_that_is_away_is_a_reason_to_come_back(
    user: User, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = refusal(user, error)

    assert (response.status_code, response.json()["code"], response["Retry-After"]) == (503, "busy", "5")
    assert b"secret" not in response.content
    assert any(record.exc_info and record.exc_info[1] is error for record in caplog.records)
