"""The model profiles for those who look after them: all that there are, and those of the table to be changed.

What a person may choose from is `models/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from access import profile_changes
from access.errors import Forbidden
from access.models import Profile as ProfileRow
from access.principals import Scope
from access.profile_table import PRICES, SAMPLING, problem_of, shown_address
from access.profiles import registry
from chat.rest.api import ApiView
from chat.rest.profile_fields import ProfileIn, ProfileOut
from history.errors import NotFound
from llm.profiles import NAME, NAME_RULE
from llm.registry import BadProfile, Profile
from streaming.errors import InvalidRequest
from web.schema import describes

NEEDED = {"POST": ("add",), "PATCH": ("change",), "DELETE": ("delete",)}
"""Which permission on profiles a method needs: one of these, or of `LOOK`."""
LOOK = ("view", "change")
CONFLICT = (HTTPStatus.CONFLICT,)


class ManagedProfiles(ApiView):
    """Only for users with a permission of Django's on profiles, and to change them, with the scope `admin`."""

    scope_to_change = Scope.ADMIN

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        has_perm = getattr(request.user, "has_perm", lambda _: False)  # the users of a site need have no permissions
        needed = [f"verbatim_access.{verb}_profile" for verb in NEEDED.get(str(request.method), LOOK)]
        if hasattr(self, str(request.method).lower()) and not any(map(has_perm, needed)):
            raise Forbidden(f"This needs the permission {' or '.join(needed)}.")


class ProfileList(ManagedProfiles):
    """`profiles/`"""

    @describes({200: ProfileOut(many=True)})
    def get(self, request: Request) -> Response:
        """All of them: those of the settings, which cannot be changed here, then those of the table."""
        rows = ProfileRow.objects.order_by("created_at", "pk").prefetch_related("groups")
        return Response([*map(of_settings, registry().profiles), *map(of_table, rows)])


class ProfileDetail(ManagedProfiles):
    """`profiles/<name>`"""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if NAME.fullmatch(kwargs["name"]) is None:
            raise InvalidRequest(f"{NAME_RULE.capitalize()}.")

    @describes({200: ProfileOut})
    def get(self, request: Request, name: str) -> Response:
        """One of them."""
        for profile in registry().profiles:
            if profile.name == name:
                return Response(of_settings(profile))
        row = ProfileRow.objects.filter(name=name).first()
        if row is None:
            raise NotFound
        return Response(of_table(row))

    @describes({201: ProfileOut}, body=ProfileIn, refusals=CONFLICT)
    def post(self, request: Request, name: str) -> Response:
        """A new one of that name."""
        with refusing():
            row = profile_changes.create(name, **told(request, partial=False))
        address = reverse("verbatim:profile", args=[row.name])
        return Response(of_table(row), status=201, headers={"Location": address})

    @describes({200: ProfileOut}, body=ProfileIn, refusals=CONFLICT)
    def patch(self, request: Request, name: str) -> Response:
        """Other values for the fields that are given."""
        with refusing():
            return Response(of_table(profile_changes.change(name, **told(request, partial=True))))

    @describes({204: None}, refusals=CONFLICT)
    def delete(self, request: Request, name: str) -> Response:
        """Gone; what was asked of it stays as it is."""
        profile_changes.delete(name)
        return Response(status=204)


@contextmanager
def refusing() -> Iterator[None]:
    """What cannot work is a request that cannot be met."""
    try:
        yield
    except BadProfile as problem:
        raise InvalidRequest(f"{problem}.") from None


def told(request: Request, *, partial: bool) -> dict[str, Any]:
    """What a request says of a profile, as columns and groups."""
    asked = ProfileIn(data=request.data, partial=partial)
    asked.is_valid(raise_exception=True)
    fields = dict(asked.validated_data)
    groups = {"groups": fields.pop("groups")} if "groups" in fields else {}
    if "sampling" in fields:
        sampling = fields.pop("sampling") or {}
        fields |= {name: sampling.get(name) for name in SAMPLING}
    if "prices" in fields:
        prices = fields.pop("prices") or {}
        fields |= {f"{name}_price": prices.get(name) for name in PRICES}
    return {"fields": fields, **groups}


def of_table(row: ProfileRow) -> Any:
    """A row, as it is written; null is what it does not say."""
    more = {
        "sampling": {name: getattr(row, name) for name in SAMPLING},
        "prices": _prices({name: getattr(row, f"{name}_price") for name in PRICES}),
        "groups": sorted(group.name for group in row.groups.all()),
        "created": row.created_at,
        "read_only": False,
        "problem": problem_of(row, registry=registry()),
    }
    return ProfileOut({**vars(row), **more}).data


def of_settings(profile: Profile) -> Any:
    """A profile of the settings, as it is in force. Its address may have credentials in it, which are not shown."""
    more: dict[str, Any] = {
        "base_url": shown_address(profile),
        "sampling": {name: getattr(profile.sampling, name) for name in SAMPLING},
        "max_output_tokens": profile.sampled(None).max_tokens,
        "prices": profile.prices and _prices({name: getattr(profile.prices, name) for name in PRICES}),
        "audience": "everyone",
        "groups": [],
        "read_only": True,
        "problem": None,
    }
    return ProfileOut({**{name: getattr(profile, name) for name in profile.__struct_fields__}, **more}).data


def _prices(prices: Mapping[str, Any]) -> dict[str, str | None] | None:
    if not any(price is not None for price in prices.values()):
        return None
    return {name: None if price is None else format(price.normalize(), "f") for name, price in prices.items()}
