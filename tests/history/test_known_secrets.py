"""The secrets whose value is known from the settings."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured

from history.known_secrets import known_secrets, without_known

ODD = 'sla/sh "quoted" canary'
CHAT = {
    "PROVIDER_KEYS": {
        "ANY_NAME": "canary-of-a-provider",
        "OPENAI_BASE_URL": "https://ada:canary-in-base@example.org/v1?api-version=2024-02-01&subscription-key=canary-asked",
        "OPENAI_MODEL": "gpt-4o-mini",
    },
    "PROFILES": ({"name": "a-profile", "base_url": "https://canary-as-user@example.org/v1"},),
}
HOSTS = [{"address": f"redis://default:{quote(ODD, safe='')}@127.0.0.1:6379/0"}]


@pytest.fixture
def known(settings: Any) -> tuple[str, ...]:
    """What is known of these settings."""
    settings.CHAT = CHAT
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "canary-of-the-site", ["canary-of-before"]
    settings.EMAIL_HOST_PASSWORD = "canary-of-the-mail"
    settings.OTHER_STORES = {"default": {"USER": "somebody", "PASSWORD": "canary-of-a-database", "HOST": "a.host.name"}}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": HOSTS}}
    settings.SHORT_TOKEN = "canary"
    return known_secrets()


def test_what_has_a_secrets_name_and_what_is_in_an_address_is_known(known: tuple[str, ...]) -> None:
    """S7."""
    plain = {each for each in known if "canary" in each and not set(each) & set('\\%"')}

    assert plain == {
        "canary-of-a-provider", "canary-in-base", "canary-asked", "canary-as-user", "canary-of-the-site",
        "canary-of-before", "canary-of-the-mail", "canary-of-a-database",
    }  # fmt: skip
    assert {ODD, quote(ODD, safe=""), json.dumps(ODD)[1:-1]} <= {*known}


def test_what_is_no_secret_may_be_said(known: tuple[str, ...]) -> None:
    text = "gpt-4o-mini of a-profile since 2024-02-01, by somebody at a.host.name: canary; sessionid, csrftoken"

    assert without_known(text) == text


def test_a_secret_is_hidden_however_it_is_written(known: tuple[str, ...]) -> None:
    text = f"canary-of-the-site {ODD} {json.dumps({'said': ODD})} {quote(ODD, safe='')}"

    assert without_known(text) == '[hidden] [hidden] {"said": "[hidden]"} [hidden]'


def test_a_site_without_a_secret_key_has_a_log(settings: Any) -> None:
    settings.SECRET_KEY = ""
    with pytest.raises(ImproperlyConfigured):
        _ = settings.SECRET_KEY

    assert without_known("words") == "words"
