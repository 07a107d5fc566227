"""The table of profiles: what a row says, whether it can work, and all rows in one short statement."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from django.db import connection
from yarl import URL

from access.models import Adapter, Audience
from access.models import Profile as ProfileRow
from history.conf import chat_settings
from history.prepared import Row, Select
from llm.registry import BadProfile, Profile, Registry, profile_from
from tools.loading import load

logger = logging.getLogger(__name__)

SAID = (
    *("name", "label", "adapter", "model", "base_url", "api_key_name", "system_prompt", "tools"),
    *("max_output_tokens", "context_window"),
)
"""The columns that are a profile's fields as they are."""
SAMPLING = ("temperature", "top_p", "seed", "stop")
PRICES = ("input", "output", "cached")
PROVIDERS = (
    *("anthropic", "cohere", "cohere_chat", "deepseek", "fireworks_ai", "gemini", "groq", "mistral", "openai"),
    *("openrouter", "perplexity", "together_ai", "xai"),
)
"""What may stand before the slash where litellm speaks: it knows the public address of these, and asks nobody else."""


class Offer(NamedTuple):
    """A profile of the table, and for whom it is."""

    profile: Profile
    audience: str
    groups: frozenset[int]


def _columns() -> list[str]:
    return [field.attname for field in ProfileRow._meta.concrete_fields]


_TABLE = Select(lambda: ProfileRow.objects.order_by("created_at", "pk").values_list(*_columns(), "groups"))


def rows() -> list[Row]:
    """The whole table, a row for each group of a profile: its columns, then the group's id."""
    return _TABLE.rows()


def offers(found: Iterable[Row], *, registry: Registry) -> Iterator[Offer]:
    """The profiles of these rows, in their order. What cannot work any more is told to the log and left out."""
    columns = _columns()
    for values, group in groupby(found, key=lambda row: row[:-1]):
        row = ProfileRow.from_db(connection.alias, columns, values)
        groups = frozenset(map(itemgetter(-1), group)) - {None}
        try:
            yield Offer(profile_of_row(row, registry=registry), row.audience, groups)
        except BadProfile as problem:
            logger.warning("a profile of the table is not offered: %s", problem)


def profile_of_row(row: ProfileRow, *, registry: Registry) -> Profile:
    """What a row says, if it works beside the profiles of the settings. Raises `BadProfile`, which says why not."""
    _require(row.adapter in Adapter.values, row, f"the adapter is none of {', '.join(Adapter.values)}")
    ours: dict[str, Any] = {"public_only": not chat_settings().private_providers}
    if row.pk is not None:
        ours["created"] = row.created_at
    profile = profile_from({**told(row), **ours})
    registry.check(profile)
    address = URL(profile.base_url)
    hides = address.user or address.password or address.query_string or address.fragment
    _require(not hides, row, "base_url may have neither a user nor a query: a key has no place in it")
    if profile.adapter == "litellm" and profile.public_only:
        _check_litellm(profile, row)
    return profile


def _check_litellm(profile: Profile, row: ProfileRow) -> None:
    """litellm makes its own connections, and looks for keys and addresses by itself: it gets no occasion to."""
    provider = profile.model.partition("/")[0]
    _require(not profile.base_url, row, "with litellm only a profile of the settings may have a base_url")
    _require(provider in PROVIDERS, row, f"with litellm the provider is one of {', '.join(PROVIDERS)}")
    _require(profile.api_key_name, row, "with litellm it needs api_key_name")


def check_new(row: ProfileRow, *, registry: Registry) -> None:
    """Whether a row may be written. Raises `BadProfile`: also for tools that are not there, which a row that is only
    read may have lost."""
    profile_of_row(row, registry=registry)
    known = tool_names()
    for name in row.tools or ():
        _require(name in known, row, f"there is no tool {name!r}")
    _require(row.audience in Audience.values, row, "it is for everyone, staff or groups")


def problem_of(row: ProfileRow, *, registry: Registry) -> str | None:
    """Why a row is not offered; None if it is."""
    try:
        profile_of_row(row, registry=registry)
    except BadProfile as problem:
        return str(problem)
    return None


def shown_address(profile: Profile) -> str:
    """Where a profile's provider is, without what may be credentials."""
    return str(URL(profile.base_url).with_user(None).with_query(None).with_fragment(None)) if profile.base_url else ""


def tool_names() -> list[str]:
    """The names of the site's tools."""
    return [load(path).name for path in chat_settings().tools]


def told(row: ProfileRow) -> dict[str, Any]:
    """A row in the words of a profile in the settings; what is empty is not said."""
    fields = {name: getattr(row, name) for name in SAID}
    fields["sampling"] = _given({name: getattr(row, name) for name in SAMPLING})
    fields["prices"] = _given({name: getattr(row, f"{name}_price") for name in PRICES})
    return {name: value for name, value in fields.items() if value not in (None, "", {})}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _require(condition: object, row: ProfileRow, reason: str) -> None:
    if not condition:
        raise BadProfile(f"profile {row.name!r}: {reason}")
