"""What `manage.py check` finds wrong with the settings, before the first turn does."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from access.profile_table import tool_names
from access.profiles import registry
from history.conf import chat_settings
from llm.registry import BadProfile
from tools.errors import ToolLoadError
from tools.loading import toolbox_from

COSTS = ("cost_per_day_per_user", "cost_per_day_per_key")
LIMITS = (
    "max_turns_per_user",
    "max_turns_per_key",
    "turns_per_minute_per_user",
    "turns_per_minute_per_key",
    "tokens_per_day_per_user",
    "tokens_per_day_per_key",
    *COSTS,
)


@register("verbatim")
def check_settings(**_: Any) -> list[CheckMessage]:
    """CHAT can be read, its profiles can be used, its tools exist."""
    return _attempt(chat_settings, ImproperlyConfigured, check_id="verbatim.E001") or (
        _attempt(registry, BadProfile, check_id="verbatim.E002")
        + _attempt(lambda: toolbox_from(chat_settings().tools), ToolLoadError, check_id="verbatim.E003")
        or _attempt(_check_tools, BadProfile, check_id="verbatim.E002")
    )


@register("verbatim")
def check_limits(**_: Any) -> list[CheckMessage]:
    """Every limit is a number that can be kept to."""
    try:
        told = chat_settings()
        unpriced = [
            profile.name for profile in registry().profiles if profile.prices is None and profile.adapter != "demo"
        ]
    except (ImproperlyConfigured, BadProfile):
        return []  # the check above has told
    wrong = [name for name in LIMITS if not _is_limit(getattr(told, name), whole=name not in COSTS)]
    found: list[CheckMessage] = [
        Error(f"CHAT: {name.upper()} must be a number from zero on, or None", id="verbatim.E006") for name in wrong
    ]
    if unpriced and any(getattr(told, name) is not None for name in COSTS):
        names = ", ".join(map(repr, unpriced))
        found.append(Warning(f"CHAT: there is a limit of cost, but no price for {names}", id="verbatim.W003"))
    return found


def _check_tools() -> None:
    known = tool_names()
    for profile in registry().profiles:
        for name in set(profile.tools or ()) - set(known):
            raise BadProfile(f"profile {profile.name!r}: there is no tool {name!r}")


def _is_limit(value: object, *, whole: bool) -> bool:
    if value is None:
        return True
    if whole:
        return isinstance(value, int) and value >= 0
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        return False
    return dollars.is_finite() and dollars >= 0


def _attempt(call: Callable[[], object], error: type[Exception], *, check_id: str) -> list[CheckMessage]:
    try:
        call()
    except error as problem:
        return [Error(f"CHAT: {problem}", id=check_id)]
    return []
