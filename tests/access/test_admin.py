"""API keys in the admin: shown by their prefix, revoked, never made and never revealed."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from access.errors import Unauthenticated
from access.keys import create_key, verify
from access.models import ApiKey

LIST = "admin:verbatim_access_apikey_changelist"


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


def test_no_key_is_made_or_changed_there(admin_client: Client, user: User) -> None:
    key = create_key(user, name="laptop")

    adding = admin_client.get(reverse("admin:verbatim_access_apikey_add"))
    admin_client.post(key_page(key.row), {"name": "other", "digest": "0" * 64})

    assert adding.status_code == HTTPStatus.FORBIDDEN
    assert verify(key.text).name == "laptop"


def test_who_may_only_look_cannot_revoke(client: Client, user: User) -> None:
    key = create_key(user)
    staff = User.objects.create_user("clerk", is_staff=True)
    client.force_login(staff)

    client.post(reverse(LIST), {"action": "revoke_keys", "_selected_action": [key.row.pk]})

    assert verify(key.text) == key.row
