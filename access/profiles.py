"""Which models there are for whom: the profiles of the settings first, then those of the table, and their models.

The table is read at most once a second, and once more before a name is said to be unknown.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from django.conf import settings as site
from django.contrib.auth import get_user_model
from django.db import transaction

from access import profile_table
from access.errors import UnknownModel
from access.models import Audience
from access.principals import Principal
from access.profile_table import Offer
from history.conf import ChatSettings, chat_settings
from history.prepared import Row
from llm.deadlines import Deadlines
from llm.registry import Profile, Registry, UnknownProfile, profile_from, profiles_from_env
from llm.types import ChatModel

FRESH = 1.0
"""Seconds for which the table is not read again: how long a process may go on with a profile that was changed."""
STARTED = datetime.now(UTC)


class Somebody(NamedTuple):
    """What decides which profiles are for a user."""

    is_staff: bool
    groups: frozenset[int]


class Known(NamedTuple):
    """The table as it was read, beside the settings then in force. It is read again after `until`."""

    registry: Registry
    rows: Sequence[Row]
    offers: dict[str, Offer]
    until: float


_lock = threading.Lock()
_made: tuple[ChatSettings, Registry] | None = None
_known: Known | None = None


def profiles_for(principal: Principal) -> tuple[Profile, ...]:
    """The models that the principal may choose from: those of the settings, in their order, then those of the table,
    the oldest first. Each says since when it is `created`."""
    return (*registry().profiles, *_open_to(principal, _table().offers.values()))


def profile_for(principal: Principal, name: str | None = None) -> Profile:
    """The profile of that name, if the principal may use it, or the default. Raises `UnknownModel`."""
    if not name:
        return _default(principal)
    try:
        return registry().profile(name)
    except UnknownProfile:
        for profile in _open_to(principal, [_offer(name)]):
            return profile
    raise UnknownModel


def profile_named(principal: Principal, *, provider: str, model: str) -> Profile:
    """The profile that is meant by a provider and a model, if the principal may use it. Raises `UnknownModel`.

    The provider is the profile's name, its adapter, or what stands before the first slash of its model; the model is
    the profile's name, or its model, with or without that.
    """
    for profile in profiles_for(principal):
        *prefix, rest = profile.model.split("/", 1)
        if provider in {profile.name, profile.adapter, *prefix} and model in {profile.name, profile.model, rest}:
            return profile
    raise UnknownModel


def profile_of(name: str = "") -> Profile:
    """The profile of that name, whoever asks, or the default. Raises `UnknownModel`."""
    try:
        return registry().profile(name)
    except UnknownProfile:
        return _offer(name).profile


def model_of(profile: Profile) -> ChatModel:
    """The model of a profile. Asks nobody: for the event loop."""
    return registry().model_of(profile)


def registry() -> Registry:
    """The profiles of the settings in force, made once. Raises `BadProfile`."""
    global _made
    settings = chat_settings()
    with _lock:
        if _made is None or _made[0] is not settings:
            _made = (settings, _registry(settings))
        return _made[1]


def changed(**_: Any) -> None:
    """The table has another content, from now on in this transaction and from its commit on for everybody."""
    forget()
    transaction.on_commit(forget)


def forget() -> None:
    """Read the table before it is used again."""
    global _known
    with _lock:
        _known = None


def _registry(settings: ChatSettings) -> Registry:
    own = tuple(profile_from(told) for told in settings.profiles)
    since = _written()
    return Registry(
        [
            profile if profile.created.timestamp() else msgspec.structs.replace(profile, created=since)
            for profile in (*own, *profiles_from_env(settings.provider_keys))
        ],
        keys=settings.provider_keys,
        default=settings.default_profile,
        deadlines=Deadlines(
            connect=settings.connect_timeout,
            first_token=settings.first_token_timeout,
            stall=settings.stall_timeout,
            total=settings.total_timeout,
        ),
    )


def _written() -> datetime:
    """When the settings were, which is since when their profiles are offered: every process says the same."""
    module = sys.modules.get(getattr(site, "SETTINGS_MODULE", ""))
    try:
        return datetime.fromtimestamp(int(Path(getattr(module, "__file__", None) or "").stat().st_mtime), UTC)
    except OSError:
        return STARTED


def _default(principal: Principal) -> Profile:
    """What the settings say; where they only have the demo and have not chosen it, the table's first."""
    default = registry().default
    if default.adapter == "demo" and not chat_settings().default_profile:
        return next(_open_to(principal, _table().offers.values()), default)
    return default


def _open_to(principal: Principal, offers: Iterable[Offer]) -> Iterator[Profile]:
    """Those of the profiles that the principal may use. One query, if any of them is not for everyone."""
    somebody: Somebody | None = None
    for offer in offers:
        if offer.audience != Audience.EVERYONE:
            somebody = somebody or _somebody(principal)
            if not (somebody.is_staff if offer.audience == Audience.STAFF else somebody.groups & offer.groups):
                continue
        yield offer.profile


def _somebody(principal: Principal) -> Somebody:
    """Users of a site need have neither column."""
    user: Any = get_user_model()._base_manager.filter(pk=principal.user_id).first()
    groups = getattr(user, "groups", None)
    return Somebody(
        is_staff=bool(getattr(user, "is_staff", False)),
        groups=frozenset(groups.values_list("pk", flat=True)) if groups is not None else frozenset(),
    )


def _offer(name: str) -> Offer:
    """That profile of the table. Raises `UnknownModel`, once the table has been read for it."""
    found = _table().offers.get(name) or _read().offers.get(name)
    if found is None:
        raise UnknownModel
    return found


def _table() -> Known:
    """The table, read again once it is older than a second. One thread reads it; the others do not wait for that."""
    global _known
    made, now = registry(), time.monotonic()
    with _lock:
        known = _known
        if known is None or known.registry is not made:
            known = None
        elif now < known.until:
            return known
        else:
            _known = known._replace(until=now + FRESH)
    return _read()


def _read() -> Known:
    """The table as it is now. Not under the lock: whoever holds a database connection must not wait for it."""
    global _known
    made, until, rows = registry(), time.monotonic() + FRESH, profile_table.rows()
    with _lock:
        known = _known
        if known is None or known.registry is not made or known.rows != rows:
            offers = {offer.profile.name: offer for offer in profile_table.offers(rows, registry=made)}
            known = Known(made, rows, offers, until)
        _known = known._replace(until=until)
        return _known
