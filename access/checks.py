"""What `manage.py check` finds wrong with the settings, before the first turn does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from access.profiles import registry
from history.conf import chat_settings
from llm.registry import BadProfile
from tools.errors import ToolLoadError
from tools.loading import toolbox_from


@register("verbatim")
def check_settings(**_: Any) -> list[CheckMessage]:
    """CHAT can be read, its profiles can be used, its tools exist."""
    return _attempt(chat_settings, ImproperlyConfigured, check_id="verbatim.E001") or _attempt(
        registry, BadProfile, check_id="verbatim.E002"
    ) + _attempt(lambda: toolbox_from(chat_settings().tools), ToolLoadError, check_id="verbatim.E003")


def _attempt(call: Callable[[], object], error: type[Exception], *, check_id: str) -> list[CheckMessage]:
    try:
        call()
    except error as problem:
        return [Error(f"CHAT: {problem}", id=check_id)]
    return []
