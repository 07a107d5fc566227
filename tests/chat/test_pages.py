"""The pages as the server gives them: who gets in, and what the page is told."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import include, path, resolve

from chat import checks
from chat.pages import NO_ID
from chat.routing import websocket_urlpatterns
from history.models import Conversation

pytestmark = pytest.mark.django_db

NOBODYS = UUID(int=0)
guests = override_settings(DEBUG=True, CHAT={"GUESTS": True})


def config_of(response: Any) -> dict[str, Any]:
    """What the page's modules will read."""
    found = re.search(r'<script id="verbatim-config" type="application/json">(.*?)</script>', response.content.decode())
    assert found is not None
    return dict(json.loads(found[1]))


def test_without_guests_a_visitor_is_sent_to_the_sign_in_page_and_comes_back(client: Client, user: User) -> None:
    user.set_password("correct horse")
    user.save()

    sent = client.get("/")
    back = client.post(sent["Location"], {"username": "ada", "password": "correct horse"}, follow=True)

    assert (sent.status_code, sent["Location"]) == (302, "/login/?next=/")
    assert back.redirect_chain == [("/", 302)]
    assert config_of(back)["user"] == {"name": "ada", "is_guest": False, "is_staff": False}


def test_a_wrong_password_gets_one_sentence_and_no_session(client: Client, user: User) -> None:
    response = client.post("/login/", {"username": "ada", "password": "wrong"})

    assert response.status_code == 200
    assert "form-error" in response.content.decode()
    assert "_auth_user_id" not in client.session


def test_signing_in_does_not_lead_to_another_site(client: Client, user: User) -> None:
    user.set_password("correct horse")
    user.save()

    response = client.post("/login/?next=https://evil.example/", {"username": "ada", "password": "correct horse"})

    assert response["Location"] == "/"


def test_signing_out_takes_a_post(client: Client, user: User) -> None:
    client.force_login(user)

    by_link = client.get("/logout/")
    still_in = "_auth_user_id" in client.session
    by_button = client.post("/logout/")

    assert (by_link.status_code, still_in) == (405, True)
    assert by_button.status_code == 302
    assert "_auth_user_id" not in client.session


@guests
def test_every_visitor_is_a_guest_of_their_own_and_stays_it() -> None:
    one, other = Client(), Client()

    first, again, second = (config_of(client.get("/"))["user"] for client in (one, one, other))

    assert first == again != second
    assert [first["is_guest"], second["is_guest"]] == [True, True]
    assert User.objects.count() == 2
    assert not any(user.has_usable_password() or user.is_staff for user in User.objects.all())


@guests
def test_a_guest_may_use_the_interface_at_once(client: Client) -> None:
    client.get("/")

    made = client.post("/api/v1/conversations/", {}, "application/json").json()

    assert client.get(f"/c/{made['id']}/").status_code == 200


@guests
def test_who_signs_in_is_no_guest_any_more(client: Client, user: User) -> None:
    user.set_password("correct horse")
    user.save()
    client.get("/")

    client.post("/login/", {"username": "ada", "password": "correct horse"})

    assert config_of(client.get("/"))["user"] == {"name": "ada", "is_guest": False, "is_staff": False}


@guests
@pytest.mark.parametrize("address", ["/api/v1/conversations/", "/login/", f"/api/v1/conversations/{NOBODYS}/events/"])
def test_only_the_pages_make_guests(client: Client, address: str) -> None:
    client.get(address)

    assert not User.objects.exists()


def test_guests_need_debug_to_get_in_and_the_check_says_so(client: Client) -> None:
    with override_settings(DEBUG=False, CHAT={"GUESTS": True}):
        response, complaints = client.get("/"), checks.check_guests()
    with guests:
        quiet = checks.check_guests()

    assert response.status_code == 302
    assert not User.objects.exists()
    assert complaints == [checks.GUESTS_WITHOUT_DEBUG]
    assert quiet == []


def test_a_conversation_has_its_page_and_nobody_else_sees_it(
    client: Client, user: User, other_user: User, conversation: Conversation
) -> None:
    client.force_login(user)
    mine = client.get(f"/c/{conversation.pk}/")
    client.force_login(other_user)
    foreign, missing = client.get(f"/c/{conversation.pk}/"), client.get(f"/c/{uuid4()}/")

    assert config_of(mine)["conversation"] == str(conversation.pk)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.content == missing.content


def test_staff_find_the_way_to_the_admin_and_nobody_else(client: Client, user: User, admin_client: Client) -> None:
    client.force_login(user)

    assert config_of(client.get("/"))["urls"]["admin"] is None
    assert config_of(admin_client.get("/"))["urls"]["admin"] == "/admin/"


def test_a_name_cannot_break_out_of_the_page(client: Client, user: User) -> None:
    User.objects.update(username="</script><script>alert(1)</script>")
    client.force_login(user)

    response = client.get("/")

    assert "<script>alert" not in response.content.decode()
    assert config_of(response)["user"]["name"].startswith("</script>")


@pytest.mark.parametrize("prefix", ["", "assistant/"])
def test_the_page_is_told_addresses_that_exist_under_any_prefix(client: Client, user: User, prefix: str) -> None:
    client.force_login(user)

    with override_settings(ROOT_URLCONF=(path(prefix, include("chat.urls")),)):
        urls = config_of(client.get(f"/{prefix}"))["urls"]
        names = {name: resolve(urls[name]).view_name for name in ("home", "conversation", "login", "api")}

    socket = urls["socket"].removeprefix(f"/{prefix}")
    assert names == {
        "home": "verbatim:home",
        "conversation": "verbatim:conversation_page",
        "login": "verbatim:login",
        "api": "verbatim:api",
    }
    assert [pattern.resolve(socket) is not None for pattern in websocket_urlpatterns] == [True]
    assert str(NO_ID) in urls["socket"]
    assert urls["admin"] is None


@pytest.mark.parametrize("prefix", ["/", "/live/"])
def test_sockets_may_be_elsewhere_than_pages(client: Client, user: User, prefix: str) -> None:
    client.force_login(user)

    with override_settings(ROOT_URLCONF=(path("assistant/", include("chat.urls")),), CHAT={"SOCKET_PREFIX": prefix}):
        urls = config_of(client.get("/assistant/"))["urls"]
        complaints = checks.check_socket_prefix()

    assert urls["socket"] == f"{prefix}ws/conversations/{NO_ID}/"
    assert complaints == []


@pytest.mark.parametrize("prefix", ["live/", "/live", "//evil.example/", "wss://evil.example/"])
def test_a_socket_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    with override_settings(CHAT={"SOCKET_PREFIX": prefix}):
        assert checks.check_socket_prefix() == [checks.NO_PATH]


def test_the_pages_say_themselves_what_they_may_do(client: Client, user: User) -> None:
    """Not every site has a middleware for it."""
    with override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if not name.startswith("csp.")]):
        policy = client.get("/login/")["Content-Security-Policy"]
        client.force_login(user)
        same = client.get("/")["Content-Security-Policy"]

    assert policy == same
    assert "default-src 'none'; script-src 'self';" in policy


def test_static_files_on_another_host_are_let_in_and_nothing_else(client: Client) -> None:
    with override_settings(STATIC_URL="https://static.example.org/site/"):
        policy = client.get("/login/")["Content-Security-Policy"]

    assert "script-src 'self' https://static.example.org; style-src 'self' https://static.example.org" in policy
    assert "connect-src 'self'; form-action 'self'" in policy


def test_a_site_whose_server_knows_no_sockets_is_told() -> None:
    without = [name for name in settings.INSTALLED_APPS if name != "daphne"]

    with override_settings(INSTALLED_APPS=without):
        without_daphne = checks.check_server()
    with override_settings(ASGI_APPLICATION=None):
        without_application = checks.check_server()

    assert without_daphne == without_application == [checks.NO_SOCKETS]
    assert checks.check_server() == []


@pytest.mark.parametrize(
    ("engine", "options", "deferred"),
    [
        ("sqlite3", {}, True),
        ("sqlite3", {"transaction_mode": "DEFERRED"}, True),
        ("sqlite3", {"transaction_mode": "immediate"}, False),
        ("postgresql", {}, False),
    ],
)
def test_sqlite_needs_transactions_that_lock_at_once(engine: str, options: dict[str, str], deferred: bool) -> None:
    database = {"ENGINE": f"django.db.backends.{engine}", "OPTIONS": options}

    assert checks.is_deferred(database) == deferred
    assert checks.check_transactions() == []
