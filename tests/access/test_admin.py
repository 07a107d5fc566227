"""API keys in the admin: made and shown once, told by their prefix, named and revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from access.errors import Unauthenticated
from access.keys import create_key, revoke, verify
from access.models import ApiKey

LIST = "admin:verbatim_access_apikey_changelist"
ADD = "admin:verbatim_access_apikey_add"
FORM_IN_PAGE = re.compile(r"vb_[0-9a-f]{8}_[\w-]{43}")


def test_keys_are_told_by_their_prefix(admin_client: Client, user: User) -> None:
    key = create_key(user, name="<b>laptop</b>")

    pages = [admin_client.get(reverse(LIST)), admin_client.get(key_page(key.row))]

    for page in pages:
        text = page.content.decode()
        assert key.row.prefix in text
        assert "&lt;b&gt;laptop&lt;/b&gt;" in text
        assert key.text not in text
        assert key.row.digest not in text


def key_page(row: ApiKey) -> str:
    return reverse("admin:verbatim_access_apikey_change", args=[row.pk])


def test_a_key_is_revoked_by_an_action(admin_client: Client, user: User) -> None:
    key = create_key(user)

    admin_client.post(reverse(LIST), {"action": "revoke_keys", "_selected_action": [key.row.pk]})

    with pytest.raises(Unauthenticated):
        verify(key.text)


def make(client: Client, somebody: User, **fields: Any) -> Any:
    """The answer to the form for a new key."""
    form = {
        "owner": somebody.pk,
        "name": "laptop",
        "scopes": ["read"],
        "expires_at_0": "",
        "expires_at_1": "",
        **fields,
    }
    return client.post(reverse(ADD), form)


def test_a_new_key_is_shown_once_in_an_answer_that_nobody_keeps(admin_client: Client, user: User) -> None:
    made = make(admin_client, user, expires_at_0="2999-12-31", expires_at_1="12:00:00")

    (text,) = set(FORM_IN_PAGE.findall(made.content.decode()))
    row = verify(text)
    assert (row.owner, row.name, row.scopes) == (user, "laptop", ["read"])
    assert row.expires_at == datetime(2999, 12, 31, 12, tzinfo=UTC)
    assert made.status_code == HTTPStatus.OK
    assert "no-store" in made["Cache-Control"]
    later = [reverse(LIST), reverse(ADD), key_page(row), f"{key_page(row)[:-7]}history/", reverse("admin:index")]
    for address in later:
        assert text.split("_", 2)[2] not in admin_client.get(address).content.decode()
    assert text not in str(dict(admin_client.session))
    assert text not in "".join(cookie.OutputString() for cookie in admin_client.cookies.values())
    assert text not in str(list(LogEntry.objects.values()))


def test_the_form_asks_for_what_a_key_may_do(admin_client: Client, user: User) -> None:
    page = admin_client.get(reverse(ADD)).content.decode()

    checkboxes = re.findall(r'<input type="checkbox" name="scopes" value="(\w+)"[^>]*?( checked)?>', page)
    assert checkboxes == [("read", " checked"), ("chat", " checked"), ("admin", "")]
    assert "_addanother" not in page
    assert "_continue" not in page


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": []}, {"scopes": ["fly"]}, {"owner": ""}, {"owner": 0}, {"expires_at_0": "2020-01-01"}],
    ids=str,
)
def test_what_cannot_be_a_key_is_not_made(admin_client: Client, user: User, wrong: dict[str, Any]) -> None:
    refused = make(admin_client, user, **{"expires_at_1": "12:00:00", "expires_at_0": "2999-01-01", **wrong})

    assert "errorlist" in refused.content.decode()
    assert not ApiKey.objects.exists()


def test_only_the_name_and_the_limits_of_a_key_can_be_changed(
    admin_client: Client, user: User, other_user: User
) -> None:
    key = create_key(user, name="laptop")
    before = ApiKey.objects.values().get()

    limits = {"max_turns": 2, "turns_per_minute": 20, "tokens_per_day": 10**10, "cost_per_day": Decimal("2.50")}
    changed = {"name": "desk", **limits, "digest": "0" * 64, "prefix": "x", "owner": other_user.pk, "scopes": ["admin"]}
    admin_client.post(key_page(key.row), {**changed, "revoked_at": "", "expires_at_0": "2999-01-01"})

    assert ApiKey.objects.values().get() == {**before, "name": "desk", **limits}
    assert verify(key.text).name == "desk"


def test_limits_are_given_with_a_new_key_and_taken_away(admin_client: Client, user: User) -> None:
    make(admin_client, user, turns_per_minute="20", cost_per_day="2.5")
    row = ApiKey.objects.get()
    admin_client.post(key_page(row), {"name": "laptop", "turns_per_minute": "", "cost_per_day": "-1"})
    refused = ApiKey.objects.get()
    admin_client.post(key_page(row), {"name": "laptop", "turns_per_minute": ""})

    changed = ApiKey.objects.get()
    assert (row.turns_per_minute, row.max_turns, row.cost_per_day) == (20, None, Decimal("2.5"))
    assert (refused.turns_per_minute, refused.cost_per_day) == (20, Decimal("2.5"))
    assert (changed.turns_per_minute, changed.cost_per_day) == (None, None)


def test_a_key_that_was_revoked_stays_so_when_it_is_renamed(admin_client: Client, user: User) -> None:
    key = create_key(user)
    revoke(ApiKey.objects.all())

    admin_client.post(key_page(key.row), {"name": "gone"})

    assert ApiKey.objects.get().name == "gone"
    with pytest.raises(Unauthenticated):
        verify(key.text)


def test_who_may_not_add_keys_gets_none(client: Client, user: User) -> None:
    staff = User.objects.create_user("clerk", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_apikey", "change_apikey"]))
    client.force_login(staff)

    assert make(client, user).status_code == HTTPStatus.FORBIDDEN
    assert not ApiKey.objects.exists()


def test_who_may_only_look_cannot_revoke(client: Client, user: User) -> None:
    key = create_key(user)
    staff = User.objects.create_user("clerk", is_staff=True)
    client.force_login(staff)

    client.post(reverse(LIST), {"action": "revoke_keys", "_selected_action": [key.row.pk]})

    assert verify(key.text) == key.row
