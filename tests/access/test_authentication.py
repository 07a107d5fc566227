"""Who asks over HTTP: one view behind the authentication classes of the settings, asked in every way."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponseBase
from django.test import Client, override_settings
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.authentication import principal_of
from access.keys import create_key


class WhoAmI(APIView):
    """Tell who asks."""

    def get(self, request: Request) -> Response:
        principal = principal_of(request)
        return Response({"user": principal.user_id, "key": principal.key_id, "scopes": sorted(principal.scopes)})

    def post(self, request: Request) -> Response:
        return self.get(request)


urlpatterns = [path("whoami/", WhoAmI.as_view())]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.mark.parametrize("form", ["Authorization", "X-API-Key", "X-Session-API-Key"])
def test_a_key_is_accepted_in_every_header_form(client: Client, user: User, form: str) -> None:
    key = create_key(user)
    value = f"Bearer {key.text}" if form == "Authorization" else key.text

    response = client.post("/whoami/", content_type="application/json", headers={form: value})

    assert response.json() == {"user": user.pk, "key": key.row.pk, "scopes": ["chat", "read"]}


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "vb_00000000_x"}, {"Authorization": "Bearer "}, {"X-API-Key": "a", "Authorization": "Bearer b"}],
)
def test_without_a_valid_key_the_answer_is_401(client: Client, user: User, headers: dict[str, str]) -> None:
    response = client.get("/whoami/", headers=headers)

    assert response.status_code == HTTPStatus.UNAUTHORIZED
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_wrong_key_is_refused_even_beside_a_good_session(client: Client, user: User) -> None:
    client.force_login(user)

    response = client.get("/whoami/", headers={"X-API-Key": "vb_00000000_x"})

    assert response.status_code == HTTPStatus.UNAUTHORIZED


def test_a_key_in_the_url_is_none(client: Client, user: User) -> None:
    key = create_key(user)

    response = client.get("/whoami/", {"api_key": key.text, "X-API-Key": key.text})

    assert response.status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(("staff", "scopes"), [(False, ["chat", "read"]), (True, ["admin", "chat", "read"])])
def test_a_session_is_a_principal_too(client: Client, user: User, scopes: list[str], *, staff: bool) -> None:
    User.objects.update(is_staff=staff)
    client.force_login(user)

    assert client.get("/whoami/").json() == {"user": user.pk, "key": None, "scopes": scopes}


def post_with_session(user: User, /, **headers: str) -> HttpResponseBase:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.cookies["csrftoken"] = "a" * 32
    return client.post("/whoami/", content_type="application/json", headers=headers)


def test_a_session_needs_the_csrf_token_for_changes(user: User) -> None:
    assert post_with_session(user).status_code == HTTPStatus.FORBIDDEN
    assert post_with_session(user, **{"X-CSRFToken": "a" * 32}).status_code == HTTPStatus.OK


def test_a_session_needs_an_allowed_origin_for_changes(user: User) -> None:
    token = {"X-CSRFToken": "a" * 32}

    with override_settings(CSRF_TRUSTED_ORIGINS=["https://chat.example.org"]):
        assert post_with_session(user, Origin="https://chat.example.org", **token).status_code == HTTPStatus.OK
        assert post_with_session(user, Origin="https://evil.example", **token).status_code == HTTPStatus.FORBIDDEN


def test_the_session_of_an_inactive_user_is_refused(client: Client, user: User) -> None:
    client.force_login(user)
    User.objects.update(is_active=False)

    assert client.get("/whoami/").status_code == HTTPStatus.UNAUTHORIZED
