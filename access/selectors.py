"""The only door to what people own. What is somebody else's answers exactly like what does not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieSessions
from django.db import connection
from django.db.models import F, FilteredRelation, Q, QuerySet
from django.db.models.functions import Now

from access.errors import AccessEnded
from access.principals import Principal, Scope, UserId, known, scopes_of_session, session_hash
from history.errors import NotFound
from history.models import Conversation, Feedback, Turn
from history.prepared import Row, Select, given


def conversations(principal: Principal) -> QuerySet[Conversation]:
    """The conversations that the principal may see."""
    return Conversation.objects.filter(owner_id=principal.user_id)


def conversation(principal: Principal, conversation_id: UUID | str) -> Conversation:
    """One of them. Raises `NotFound`."""
    found = conversations(principal).filter(pk=_uuid(conversation_id)).first()
    if found is None:
        raise NotFound
    return found


def turns(principal: Principal) -> QuerySet[Turn]:
    """The turns that the principal may see."""
    return Turn.objects.filter(conversation__owner_id=principal.user_id)


def turn(principal: Principal, turn_id: UUID | str) -> Turn:
    """One of them. Raises `NotFound`."""
    found = turns(principal).filter(pk=_uuid(turn_id)).first()
    if found is None:
        raise NotFound
    return found


def feedback(principal: Principal) -> QuerySet[Feedback]:
    """What the principal has said about answers in what they may see."""
    return Feedback.objects.filter(owner_id=principal.user_id, conversation__owner_id=principal.user_id)


def require_valid(principal: Principal) -> None:
    """Raises `AccessEnded` once the user is inactive, the key revoked, expired or without a scope it had, the session
    signed out or of an old password."""
    if principal not in _valid([principal], users=_USER.rows(pk=principal.user_id)):
        raise AccessEnded


def still_valid(principals: Iterable[Principal]) -> set[Principal]:
    """Those that may still do all that they could. One query for users and keys and one for sessions, however many."""
    asked = set(principals)
    users = _with_keys(Q(pk__in={principal.user_id for principal in asked}))
    return _valid(asked, users=users)


def _valid(asked: Collection[Principal], *, users: Iterable[Row]) -> set[Principal]:
    usable = _usable(users)
    sessions = _live_sessions({principal.session_key for principal in asked if principal.session_key is not None})
    return {
        principal
        for principal in asked
        if (scopes := usable.get((principal.user_id, principal.key_id, principal.session_hash))) is not None
        and principal.scopes <= scopes
        and (principal.session_key is None or principal.session_key in sessions)
    }


def _with_keys(which: Q) -> QuerySet[Any, Any]:
    """A row for each of these users and each of their usable keys: the key's id and scopes, then the user's columns."""
    key = FilteredRelation(
        "verbatim_api_keys",
        condition=Q(verbatim_api_keys__revoked_at=None)
        & (Q(verbatim_api_keys__expires_at=None) | Q(verbatim_api_keys__expires_at__gt=Now())),
    )
    users = get_user_model()._default_manager.filter(which).annotate(key=key)
    return users.values_list(F("key__pk"), F("key__scopes"), *_columns())


def _columns() -> list[str]:
    return [field.attname for field in get_user_model()._meta.concrete_fields]


_USER = Select(lambda: _with_keys(Q(pk=given(get_user_model(), "pk"))))


def _usable(rows: Iterable[Row]) -> dict[tuple[UserId, int | None, str | None], frozenset[Scope]]:
    """The scopes of every active user: alone, with each of their usable keys, and with what their sessions must know
    of the password. `is_active` need not be a column."""
    usable: dict[tuple[UserId, int | None, str | None], frozenset[Scope]] = {}
    columns = _columns()
    for key_id, key_scopes, *values in rows:
        user: Any = get_user_model().from_db(connection.alias, columns, values)
        if user.is_active:
            usable[user.pk, None, None] = usable[user.pk, None, session_hash(user)] = scopes_of_session(user)
            if key_id is not None:
                usable[user.pk, key_id, None] = known(key_scopes)
    return usable


def _live_sessions(session_keys: Collection[str]) -> Collection[str]:
    """The sessions that nobody signed out. One kept in a cookie alone cannot be told from one that ended."""
    if not session_keys:
        return ()
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    if issubclass(store, CookieSessions):
        return session_keys
    if issubclass(store, DatabaseSessions):
        rows = store.get_model_class().objects.filter(session_key__in=session_keys, expire_date__gt=Now())
        return set(rows.values_list("session_key", flat=True))
    return {key for key in session_keys if store().exists(key)}


def _uuid(value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except ValueError:
        raise NotFound from None
