"""What `manage.py check` finds wrong with the settings of the pages, and with how a site includes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from history.conf import chat_settings

GUESTS_WITHOUT_DEBUG = Error(
    "CHAT: GUESTS signs every visitor in, which is for development only.",
    hint="Remove GUESTS, or set DEBUG.",
    id="verbatim.E004",
)
NO_PATH = Error(
    "CHAT: SOCKET_PREFIX is not a path.",
    hint="It begins and ends with a slash and has no host, such as '/' or '/live/'.",
    id="verbatim.E005",
)
NO_SOCKETS = Warning(
    "runserver would answer no WebSocket here, so that the page could not reach the chat.",
    hint="Put 'daphne' first in INSTALLED_APPS, and name your ASGI application in ASGI_APPLICATION.",
    id="verbatim.W001",
)
DEFERRED = Warning(
    "Transactions on SQLite begin without the lock they need later, and fail when two of them meet.",
    hint="Set DATABASES['default']['OPTIONS'] = {'transaction_mode': 'IMMEDIATE'}.",
    id="verbatim.W002",
)


@register("verbatim")
def check_guests(**_: Any) -> list[CheckMessage]:
    """Guests only with DEBUG."""
    return [GUESTS_WITHOUT_DEBUG] if getattr(settings, "CHAT", {}).get("GUESTS") and not settings.DEBUG else []


@register("verbatim")
def check_socket_prefix(**_: Any) -> list[CheckMessage]:
    """The page can be told where the sockets are."""
    try:
        prefix = chat_settings().socket_prefix
    except ImproperlyConfigured:
        return []  # said by another check
    is_path = prefix.startswith("/") and prefix.endswith("/") and not prefix.startswith("//")
    return [NO_PATH] if prefix and not is_path else []


@register("verbatim")
def check_server(**_: Any) -> list[CheckMessage]:
    """The development server speaks WebSocket."""
    has_server = apps.is_installed("daphne") and getattr(settings, "ASGI_APPLICATION", None)
    return [] if has_server else [NO_SOCKETS]


@register("verbatim")
def check_transactions(**_: Any) -> list[CheckMessage]:
    """SQLite takes the lock at the beginning."""
    return [DEFERRED] if is_deferred(settings.DATABASES["default"]) else []


def is_deferred(database: Mapping[str, Any]) -> bool:
    """Whether that is SQLite without an early lock."""
    mode = str(database.get("OPTIONS", {}).get("transaction_mode") or "")
    return database["ENGINE"] == "django.db.backends.sqlite3" and mode.upper() not in {"IMMEDIATE", "EXCLUSIVE"}
