"""What `manage.py check --deploy` knows of settings that cost answers once there are several processes, or a proxy."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.core.exceptions import ImproperlyConfigured

from history.conf import chat_settings

DEAF = Warning(
    "The channel layer is in memory: a second process would hear nothing of this one, and poll instead.",
    hint="Set REDIS_URL, or a CHANNEL_LAYERS of your own, unless there is ever only one process.",
    id="verbatim.W010",
)
NO_WAL = Warning(
    "SQLite without a write-ahead log: while one process writes, no other reads.",
    hint="OPTIONS = {'init_command': 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL'}, or use PostgreSQL.",
    id="verbatim.W011",
)
KEPT_CONNECTIONS = Warning(
    "CONN_MAX_AGE keeps a database connection for every thread that a server ever used.",
    hint="Set CONN_MAX_AGE = 0 and, on PostgreSQL, OPTIONS = {'pool': True}.",
    id="verbatim.W012",
)
GZIP = Warning(
    "GZipMiddleware holds streams back to compress them.",
    hint="Remove it, and let a proxy compress what is not text/event-stream.",
    id="verbatim.W013",
)
ANYWHERE = Warning(
    "Any site may open sockets and send forms in the name of those who are signed in here.",
    hint="Name origins and hosts one by one, without '*', in CHAT's ALLOWED_ORIGINS and in ALLOWED_HOSTS.",
    id="verbatim.W014",
)
KEEPS_ALL = Warning(
    "All that models are asked and answer is kept, for whoever has the permission to read it.",
    hint="COMPLETION_LOGS = 'metadata', unless that is wanted; then run purge_completion_logs once a day.",
    id="verbatim.W015",
)

IN_MEMORY = "channels.layers.InMemoryChannelLayer"


@register("verbatim", deploy=True)
def check_channel_layer(**_: Any) -> list[CheckMessage]:
    """Processes hear each other."""
    chat = _chat()
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get(chat.doorbell_layer if chat else "default")
    return [DEAF] if layer is None or layer["BACKEND"] == IN_MEMORY else []


@register("verbatim", deploy=True)
def check_database(**_: Any) -> list[CheckMessage]:
    """Readers do not wait for writers, and threads keep no connections."""
    database = settings.DATABASES["default"]
    on_sqlite = database["ENGINE"] == "django.db.backends.sqlite3"
    has_wal = "journal_mode=wal" in str(database.get("OPTIONS", {}).get("init_command", "")).replace(" ", "").lower()
    found: list[CheckMessage] = [NO_WAL] if on_sqlite and not has_wal else []
    return found + ([KEPT_CONNECTIONS] if database.get("CONN_MAX_AGE", 0) != 0 else [])


@register("verbatim", deploy=True)
def check_compression(**_: Any) -> list[CheckMessage]:
    """Nothing stands in the way of a stream."""
    return [GZIP] if any(name.endswith(".GZipMiddleware") for name in settings.MIDDLEWARE) else []


@register("verbatim", deploy=True)
def check_origins(**_: Any) -> list[CheckMessage]:
    """Who may come is named."""
    chat = _chat()
    named = (*settings.ALLOWED_HOSTS, *settings.CSRF_TRUSTED_ORIGINS, *(chat.allowed_origins if chat else ()))
    return [ANYWHERE] if any("*" in name for name in named) else []


@register("verbatim", deploy=True)
def check_contents(**_: Any) -> list[CheckMessage]:
    """What people say is not kept twice without a thought."""
    chat = _chat()
    return [KEEPS_ALL] if chat is not None and chat.completion_logs == "full" else []


def _chat() -> Any:
    """The settings of the chat; None if they cannot be read, which another check tells."""
    try:
        return chat_settings()
    except ImproperlyConfigured:
        return None
