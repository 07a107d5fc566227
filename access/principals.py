"""Who asks: a person in a browser, or an API key acting for one. Plain values, safe to keep and to compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from django.contrib.auth.base_user import AbstractBaseUser

from access.errors import Forbidden

UserId: TypeAlias = Any
"""A primary key of the site's own user model, whatever type that has."""


class Scope(StrEnum):
    """What a principal may do: look, talk, or decide what else the site decides, such as the system prompt."""

    READ = "read"
    CHAT = "chat"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user, through an API key (`key_id`) or a browser session (`session_key`), with what they may do.

    `session_hash` is what Django ties a session to the user's password by, `expires_at` when a key ends by itself."""

    user_id: UserId
    key_id: int | None = None
    session_key: str | None = None
    session_hash: str | None = field(default=None, repr=False)
    expires_at: datetime | None = field(default=None, compare=False)
    scopes: frozenset[Scope] = frozenset({Scope.READ, Scope.CHAT})

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden` without that scope."""
        if scope not in self.scopes:
            raise Forbidden


def principal_of_session(user: AbstractBaseUser, *, session_key: str | None) -> Principal:
    """The principal of a signed-in browser."""
    return Principal(
        user_id=user.pk, session_key=session_key, session_hash=session_hash(user), scopes=scopes_of_session(user)
    )


def scopes_of_session(user: AbstractBaseUser) -> frozenset[Scope]:
    """Staff may manage, everybody may read and chat."""
    staff = {Scope.ADMIN} if getattr(user, "is_staff", False) else set()
    return frozenset({Scope.READ, Scope.CHAT} | staff)


def known(scopes: Iterable[str]) -> frozenset[Scope]:
    """The scopes of a key, as they are stored, without those that this version does not know."""
    return frozenset(Scope(scope) for scope in scopes if scope in set(Scope))


def session_hash(user: AbstractBaseUser) -> str | None:
    """Another one after each change of the password; None for users whose sessions do not depend on it."""
    make = getattr(user, "get_session_auth_hash", None)
    return make() if make is not None else None
