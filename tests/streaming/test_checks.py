"""S13: `manage.py check --deploy` knows what is dangerous here; a sound site hears nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from streaming import checks

POSTGRES = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0}
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"init_command": "PRAGMA journal_mode = WAL"}}
SOUND: dict[str, Any] = {
    "CHANNEL_LAYERS": {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}},
    "DATABASES": {"default": POSTGRES},
    "MIDDLEWARE": [],
    "ALLOWED_HOSTS": ["chat.example.org"],
    "CSRF_TRUSTED_ORIGINS": ["https://chat.example.org"],
    "CHAT": {},
}
DANGERS: list[tuple[str, dict[str, Any]]] = [
    ("W010", {"CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}}),
    ("W010", {"CHANNEL_LAYERS": {}}),
    ("W011", {"DATABASES": {"default": {**SQLITE, "OPTIONS": {}}}}),
    ("W012", {"DATABASES": {"default": {**POSTGRES, "CONN_MAX_AGE": None}}}),
    ("W012", {"DATABASES": {"default": {**POSTGRES, "CONN_MAX_AGE": 600}}}),
    ("W013", {"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware"]}),
    ("W014", {"ALLOWED_HOSTS": ["*"]}),
    ("W014", {"CSRF_TRUSTED_ORIGINS": ["https://*.example.org"]}),
    ("W014", {"CHAT": {"ALLOWED_ORIGINS": ("*",)}}),
    ("W015", {"CHAT": {"COMPLETION_LOGS": "full"}}),
]


def dangers(*, DATABASES: Any, **told: Any) -> list[str]:
    """What is found, by number."""
    asked = (
        checks.check_channel_layer,
        checks.check_database,
        checks.check_compression,
        checks.check_origins,
        checks.check_contents,
    )
    with override_settings(**told), pytest.MonkeyPatch.context() as patch:
        patch.setitem(settings.DATABASES, "default", DATABASES["default"])  # no query is made
        return [str(message.id).removeprefix("verbatim.") for check in asked for message in check()]


@pytest.mark.parametrize(("number", "danger"), DANGERS)
def test_a_danger_is_found(number: str, danger: dict[str, Any]) -> None:
    assert dangers(**{**SOUND, **danger}) == [number]


@pytest.mark.parametrize("database", [POSTGRES, SQLITE], ids=["PostgreSQL", "SQLite"])
def test_a_sound_site_hears_nothing(database: dict[str, Any]) -> None:
    assert dangers(**{**SOUND, "DATABASES": {"default": database}}) == []


def test_only_who_deploys_is_told() -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        plain = {message.id for message in run_checks(tags=["verbatim"])}
        deployed = {message.id for message in run_checks(tags=["verbatim"], include_deployment_checks=True)}

    assert "verbatim.W014" in deployed - plain
