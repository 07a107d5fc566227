"""Making, finding and revoking API keys. A key is text like `vb_<prefix>_<secret>`; it is shown once, never stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.dispatch import Signal

from access.errors import Unauthenticated
from access.models import UNEXPIRED, UNREVOKED, ApiKey
from access.principals import Principal, Scope, known

SECRET_BYTES = 32
FORM = re.compile(r"vb_([0-9a-f]{8})_[\w-]{43}", re.ASCII)
HEADERS = ("x-api-key", "x-session-api-key")
"""Where a key may stand as it is; as `Authorization: Bearer` it may always."""
USE_IS_STALE = ExpressionWrapper(
    Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(minutes=1)), output_field=BooleanField()
)


rights_changed = Signal()
"""Sent after each commit with which a key may do less than before, in the thread that made it."""


class NewKey(NamedTuple):
    """A key just made: the only time its text is known."""

    text: str
    row: ApiKey


def create_key(
    owner: AbstractBaseUser,
    *,
    name: str = "",
    scopes: Iterable[Scope] = (Scope.READ, Scope.CHAT),
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key that acts for `owner`."""
    row = ApiKey(owner_id=owner.pk, name=name, scopes=sorted(set(scopes)), expires_at=expires_at)
    text = give_text(row)
    row.save(force_insert=True)
    return NewKey(text, row)


def give_text(row: ApiKey) -> str:
    """The text of a key that is about to be stored; the row keeps a prefix and a digest of it."""
    row.prefix = secrets.token_hex(4)
    text = f"vb_{row.prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row.digest = _digest(text)
    return text


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key that a request brings along, by lower-case header names; None if it brings none.

    Raises `Unauthenticated` when it brings different ones.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    found = {headers[name].strip() for name in HEADERS if name in headers}
    if scheme.lower() == "bearer":
        found.add(token.strip())
    if len(found) > 1:
        raise Unauthenticated("The request brings several API keys; send one.")
    return found.pop() if found else None


def verify(text: str) -> ApiKey:
    """The row of a key that may be used now, with its owner. Raises `Unauthenticated`, always the same."""
    match = FORM.fullmatch(text)
    if match is None:
        raise Unauthenticated
    usable = ApiKey.objects.filter(UNREVOKED, UNEXPIRED, prefix=match[1])
    row = usable.select_related("owner").annotate(is_stale=USE_IS_STALE).first()
    if row is None or not hmac.compare_digest(row.digest, _digest(text)) or not row.owner.is_active:
        raise Unauthenticated
    if row.is_stale:  # asked before: on SQLite even an update of nothing waits for whoever writes
        ApiKey.objects.filter(pk=row.pk).update(last_used_at=Now())
    return row


def principal_of_key(row: ApiKey) -> Principal:
    """The principal a key speaks for."""
    return Principal(user_id=row.owner_id, key_id=row.pk, expires_at=row.expires_at, scopes=known(row.scopes))


def revoke(keys: QuerySet[ApiKey]) -> int:
    """Make keys useless for good; returns how many were not yet."""
    revoked = keys.filter(UNREVOKED).update(revoked_at=Now())
    if revoked:
        tell_rights_changed()
    return revoked


def tell_rights_changed(*, created: bool = False, **_: object) -> None:
    """Tell whoever listens, once the transaction that is open now has committed: also as a receiver of `post_save`."""
    if not created:
        transaction.on_commit(partial(rights_changed.send_robust, sender=ApiKey))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
