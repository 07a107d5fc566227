"""The secrets whose value this site knows: what its settings have under a secret's name, or in an address. Nobody says
them here, neither a tool nor a line of the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from llm.profiles import NO_KEYS
from llm.redaction import is_secret, without

SHORTEST = 8
"""Characters of a secret: what is shorter is no secret, and its loss would be felt everywhere."""


@cache
def known_secrets() -> tuple[str, ...]:
    """Their values, also as JSON and URLs write them; the longest first."""
    found = {secret for secret in _of_settings() if len(secret) >= SHORTEST}
    ways = {way for secret in found for way in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))}
    return tuple(sorted(ways, key=lambda way: (-len(way), way)))


def without_known(text: str) -> str:
    """`text` with `[hidden]` for each of them."""
    return without(text, known_secrets())


def _of_settings() -> Iterator[str]:
    chat: Mapping[str, Any] = getattr(settings, "CHAT", {})
    keys: Mapping[str, str] = chat.get("PROVIDER_KEYS", {})
    yield from (key for name, key in keys.items() if name not in NO_KEYS)
    yield from _of(settings.SECRET_KEY_FALLBACKS, name="SECRET_KEY")
    for name in filter(str.isupper, dir(settings)):
        with suppress(ImproperlyConfigured):  # there is no SECRET_KEY
            yield from _of(getattr(settings, name), name=name)


def _of(value: object, *, name: object) -> Iterator[str]:
    """What is secret of a setting, at any depth."""
    match value:
        case str():
            if is_secret(name):
                yield value
            elif "://" in value:
                yield from _of_address(value)
        case Mapping():
            for key, each in value.items():
                yield from _of(each, name=key)
        case list() | tuple():
            for each in value:
                yield from _of(each, name=name)


def _of_address(address: str) -> Iterator[str]:
    """The password, over HTTP the user where there is none, and parameters by their names."""
    try:
        url = urlsplit(address)
    except ValueError:
        return
    if user := url.password or (url.username if url.scheme in ("http", "https") else None):
        yield from (user, unquote(user))
    yield from (value for name, value in parse_qsl(url.query) if is_secret(name) or name.lower().endswith("key"))


setting_changed.connect(lambda **_: known_secrets.cache_clear(), weak=False)
