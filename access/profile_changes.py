"""Making, changing and deleting profiles of the table; only what can work gets into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from access.errors import ProfileExists, ProfileReadOnly
from access.models import Profile
from access.profile_table import check_new
from access.profiles import registry
from history.errors import NotFound


def create(name: str, *, fields: Mapping[str, Any], groups: Iterable[Group] = ()) -> Profile:
    """A new row, with these of its columns. Raises `ProfileExists`, or `BadProfile` for what cannot work."""
    if is_of_settings(name) or Profile.objects.filter(name=name).exists():
        raise ProfileExists
    row = Profile(name=name, **fields)
    check_new(row, registry=registry())
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            row.groups.set(groups)
    except IntegrityError:  # somebody was faster
        raise ProfileExists from None
    return row


@transaction.atomic
def change(name: str, *, fields: Mapping[str, Any], groups: Iterable[Group] | None = None) -> Profile:
    """Other values for some columns of a row. Raises `NotFound`, `ProfileReadOnly` or `BadProfile`."""
    row = _own(name)
    for column, value in fields.items():
        setattr(row, column, value)
    check_new(row, registry=registry())
    row.save(update_fields=list(fields))
    if groups is not None:
        row.groups.set(groups)
    return row


@transaction.atomic
def delete(name: str) -> None:
    """Gone: turns in progress end with what they have, later ones with `unknown_model`. Raises `NotFound` or
    `ProfileReadOnly`."""
    _own(name).delete()


def is_of_settings(name: str) -> bool:
    """Whether the settings have a profile of that name."""
    return any(profile.name == name for profile in registry().profiles)


def _own(name: str) -> Profile:
    row = Profile.objects.select_for_update(no_key=True).filter(name=name).first()
    if row is None:
        raise ProfileReadOnly if is_of_settings(name) else NotFound
    return row
