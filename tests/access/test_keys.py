"""API keys: how they are made, found in a request, checked and revoked."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access.errors import Forbidden, Unauthenticated
from access.keys import create_key, key_in, principal_of_key, revoke, verify
from access.models import ApiKey
from access.principals import Principal, Scope


def test_a_key_is_stored_as_prefix_and_digest_only(user: User) -> None:
    key = create_key(user, name="laptop")

    _, prefix, secret = key.text.split("_", 2)
    (row,) = ApiKey.objects.values()
    assert row["prefix"] == prefix
    assert row["digest"] == hashlib.sha256(key.text.encode()).hexdigest()
    assert not any(secret in str(value) for value in row.values())
    assert len(secret) >= 43  # 32 bytes


def test_a_key_speaks_for_its_owner_within_its_scopes(user: User) -> None:
    key = create_key(user, scopes=[Scope.READ])

    principal = principal_of_key(verify(key.text))

    assert principal == Principal(user_id=user.pk, key_id=key.row.pk, scopes=frozenset({Scope.READ}))
    principal.require(Scope.READ)
    with pytest.raises(Forbidden):
        principal.require(Scope.CHAT)


def test_a_scope_of_a_later_version_is_ignored(user: User) -> None:
    key = create_key(user)
    ApiKey.objects.update(scopes=["read", "fly"])

    assert principal_of_key(verify(key.text)).scopes == {Scope.READ}


def wrong(text: str) -> list[str]:
    return ["", "vb", "vb__", "vb_\0_x", "vb_\ud800_x", f"{text}x", text[:-1], text.upper(), f"x{text}", "v" * 10_000]


def test_what_is_not_exactly_a_key_is_refused(user: User) -> None:
    key = create_key(user)

    for text in wrong(key.text):
        with pytest.raises(Unauthenticated):
            verify(text)


def test_a_key_ends_when_it_is_revoked(user: User) -> None:
    key = create_key(user)

    assert revoke(ApiKey.objects.all()) == 1

    assert revoke(ApiKey.objects.all()) == 0
    with pytest.raises(Unauthenticated):
        verify(key.text)


def test_a_key_ends_when_it_expires(user: User) -> None:
    now = timezone.now()
    expired = create_key(user, expires_at=now - timedelta(seconds=5))
    valid = create_key(user, expires_at=now + timedelta(hours=1))

    assert verify(valid.text) == valid.row
    with pytest.raises(Unauthenticated):
        verify(expired.text)


def test_a_key_ends_when_its_owner_is_deactivated(user: User) -> None:
    key = create_key(user)
    User.objects.update(is_active=False)

    with pytest.raises(Unauthenticated):
        verify(key.text)


def test_last_use_is_noted_once_a_minute(user: User) -> None:
    key = create_key(user)

    verify(key.text)
    first = ApiKey.objects.get().last_used_at
    verify(key.text)
    again = ApiKey.objects.get().last_used_at
    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    verify(key.text)
    later = ApiKey.objects.get().last_used_at

    assert first is not None
    assert again == first
    assert later is not None
    assert timezone.now() - later < timedelta(minutes=1)


def test_a_key_in_use_is_verified_without_writing(user: User) -> None:
    key = create_key(user)
    verify(key.text)

    with CaptureQueriesContext(connection) as queries:
        verify(key.text)

    assert [query["sql"].split()[0] for query in queries] == ["SELECT"]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer vb_a"}, "vb_a"),
        ({"authorization": "bearer  vb_a "}, "vb_a"),
        ({"authorization": "Basic vb_a"}, None),
        ({"authorization": "Bearer"}, ""),
        ({"x-api-key": "vb_a"}, "vb_a"),
        ({"x-session-api-key": "vb_a"}, "vb_a"),
        ({"x-api-key": ""}, ""),
        ({"x-api-key": "vb_a", "authorization": "Bearer vb_a"}, "vb_a"),
        ({"cookie": "x-api-key=vb_a"}, None),
    ],
)
def test_a_key_is_found_in_every_header_form(headers: dict[str, str], key: str | None) -> None:
    assert key_in(headers) == key


def test_two_different_keys_are_refused() -> None:
    with pytest.raises(Unauthenticated, match="several API keys"):
        key_in({"x-api-key": "vb_a", "authorization": "Bearer vb_b"})


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_one_working_key_and_nothing_else(user: User) -> None:
    printed = command("ada", "--name", "ci", "--scope", "read", "--days", "2")

    row = verify(printed.removesuffix("\n"))
    assert (row.owner, row.name, row.scopes) == (user, "ci", ["read"])
    assert row.expires_at is not None
    assert timedelta(days=1) < row.expires_at - timezone.now() <= timedelta(days=2)


@pytest.mark.django_db
def test_the_command_makes_the_user_when_asked_to() -> None:
    with pytest.raises(CommandError, match="--create-user makes one"):
        command("ada")

    row = verify(command("ada", "--create-user").strip())

    assert row.owner.username == "ada"
    assert not row.owner.has_usable_password()


def test_the_command_refuses_an_inactive_user(user: User) -> None:
    User.objects.update(is_active=False)

    with pytest.raises(CommandError, match="inactive"):
        command("ada")


def test_checking_a_key_takes_two_short_statements(user: User) -> None:
    key = create_key(user)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        verify(key.text)

    assert len(queries) == 2
