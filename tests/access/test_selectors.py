"""The only door: foreign rows answer like missing ones, and what ended is noticed."""

from __future__ import annotations

import uuid
from datetime import timedelta
from importlib import import_module

import pytest
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access import selectors
from access.errors import AccessEnded
from access.keys import create_key, principal_of_key, revoke
from access.models import ApiKey
from access.principals import Principal, Scope, principal_of_session
from history.errors import NotFound
from history.models import Conversation, Turn


@pytest.fixture
def conversation(user: User) -> Conversation:
    return Conversation.objects.create(owner=user)


@pytest.fixture
def turn(conversation: Conversation) -> Turn:
    return Turn.objects.create(conversation=conversation, owner_id=conversation.owner_id)


def of(user: User) -> Principal:
    return Principal(user_id=user.pk)


def test_an_owner_sees_what_is_theirs(user: User, conversation: Conversation, turn: Turn) -> None:
    assert selectors.conversation(of(user), conversation.pk) == conversation
    assert selectors.conversation(of(user), str(conversation.pk)) == conversation
    assert selectors.turn(of(user), turn.pk) == turn
    assert list(selectors.conversations(of(user))) == [conversation]
    assert list(selectors.turns(of(user))) == [turn]


def test_an_api_key_sees_what_its_owner_sees(user: User, conversation: Conversation) -> None:
    principal = principal_of_key(create_key(user).row)

    assert list(selectors.conversations(principal)) == [conversation]


def test_what_is_foreign_answers_exactly_like_what_is_missing(other_user: User, turn: Turn) -> None:
    answers = set()
    for turn_id in (turn.pk, uuid.uuid4(), "not-an-id"):
        with pytest.raises(NotFound) as refused:
            selectors.turn(of(other_user), turn_id)
        answers.add((type(refused.value), refused.value.code, refused.value.message))
    for conversation_id in (turn.conversation_id, uuid.uuid4(), "\0"):
        with pytest.raises(NotFound) as refused:
            selectors.conversation(of(other_user), conversation_id)
        answers.add((type(refused.value), refused.value.code, refused.value.message))

    assert len(answers) == 1
    assert list(selectors.conversations(of(other_user))) == []
    assert list(selectors.turns(of(other_user))) == []


def session_of(user: User) -> SessionStore:
    session = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session.save()
    return session


def signed_in(user: User) -> Principal:
    return principal_of_session(user, session_key=session_of(user).session_key)


def test_what_is_untouched_stays_valid(user: User, other_user: User) -> None:
    principals = {
        of(other_user),
        principal_of_key(create_key(user).row),
        principal_of_key(create_key(user, expires_at=timezone.now() + timedelta(hours=1)).row),
        Principal(user_id=user.pk, session_key=session_of(user).session_key),
    }

    assert selectors.still_valid(principals) == principals
    for principal in principals:
        selectors.require_valid(principal)


def test_a_deactivated_user_loses_everything(user: User, other_user: User) -> None:
    key = principal_of_key(create_key(user).row)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert selectors.still_valid([of(user), key, of(other_user)]) == {of(other_user)}
    with pytest.raises(AccessEnded):
        selectors.require_valid(key)


def test_a_deleted_user_loses_everything(user: User) -> None:
    principal = of(user)
    user.delete()

    assert selectors.still_valid([principal]) == set()


def test_a_revoked_or_expired_key_ends_and_its_owners_session_does_not(user: User) -> None:
    rows = [create_key(user).row for _ in range(3)]
    revoked, expired, kept = map(principal_of_key, rows)
    revoke(ApiKey.objects.filter(pk=rows[0].pk))
    ApiKey.objects.filter(pk=rows[1].pk).update(expires_at=timezone.now() - timedelta(seconds=5))

    assert selectors.still_valid([revoked, expired, kept, of(user)]) == {kept, of(user)}


def test_who_may_do_less_than_before_is_no_longer_valid_and_who_may_do_more_is(user: User) -> None:
    rows = [create_key(user, scopes=scopes).row for scopes in ([Scope.READ, Scope.CHAT], [Scope.READ], [Scope.READ])]
    less, more, other = map(principal_of_key, rows)
    ApiKey.objects.filter(pk=rows[0].pk).update(scopes=["read"])
    ApiKey.objects.filter(pk=rows[1].pk).update(scopes=["read", "chat"])
    ApiKey.objects.filter(pk=rows[2].pk).update(scopes=["chat", "fly"])

    assert selectors.still_valid([less, more, other, of(user)]) == {more, of(user)}


def test_a_key_without_scopes_ends_like_any_other(user: User) -> None:
    principal = principal_of_key(create_key(user, scopes=[]).row)
    before = selectors.still_valid([principal])
    revoke(ApiKey.objects.all())

    assert (before, selectors.still_valid([principal])) == ({principal}, set())


def test_who_is_no_longer_staff_must_connect_anew(user: User) -> None:
    User.objects.update(is_staff=True)
    user.refresh_from_db()
    staff = signed_in(user)
    before = selectors.still_valid([staff])
    User.objects.update(is_staff=False)

    assert (before, selectors.still_valid([staff, of(user)])) == ({staff}, {of(user)})


def test_a_key_that_changed_hands_ends(user: User, other_user: User) -> None:
    principal = principal_of_key(create_key(user).row)
    ApiKey.objects.update(owner=other_user)

    assert selectors.still_valid([principal, of(other_user)]) == {of(other_user)}


def test_a_sign_out_ends_that_session_only(user: User) -> None:
    ended, kept = session_of(user), session_of(user)
    principals = [Principal(user_id=user.pk, session_key=session.session_key) for session in (ended, kept)]
    ended.flush()

    assert selectors.still_valid(principals) == {principals[1]}


def test_a_new_password_ends_the_sessions_of_the_old_one_and_no_key(user: User, other_user: User) -> None:
    key = principal_of_key(create_key(user).row)
    before, other = signed_in(user), signed_in(other_user)
    user.set_password("correct horse battery")
    user.save()
    after = signed_in(user)

    assert selectors.still_valid([before, after, key, other]) == {after, key, other}
    with pytest.raises(AccessEnded):
        selectors.require_valid(before)


def test_users_whose_sessions_know_no_password_stay_signed_in(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(AbstractBaseUser, "get_session_auth_hash")

    principal = signed_in(user)

    assert selectors.still_valid([principal]) == {principal}


@pytest.mark.parametrize("backend", ["db", "cached_db", "cache"])
def test_sessions_are_looked_up_where_the_site_keeps_them(user: User, backend: str) -> None:
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{backend}"):
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session.save()
        principal = Principal(user_id=user.pk, session_key=session.session_key)

        assert selectors.still_valid([principal]) == {principal}
        session.flush()
        assert selectors.still_valid([principal]) == set()


def test_a_session_kept_in_a_cookie_alone_is_trusted(user: User) -> None:
    principal = Principal(user_id=user.pk, session_key="signed")

    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        assert selectors.still_valid([principal]) == {principal}


def test_a_thousand_streams_are_checked_with_two_queries(user: User, other_user: User) -> None:
    principals = [principal_of_key(create_key(user).row) for _ in range(20)]
    principals += [signed_in(other_user) for _ in range(20)]

    with CaptureQueriesContext(connection) as queries:
        valid = selectors.still_valid(principals)

    assert valid == set(principals)
    assert len(queries) == 2
