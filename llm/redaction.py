"""Provider words made fit for a log: no key, no token, no credentials in URLs, and not too many of them."""

from __future__ import annotations

import json
import re
from contextlib import suppress

from llm.types import Json

LIMIT = 500
HIDDEN = "[hidden]"
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{4,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|key|AIza)[-_][\w*.-]{4,}"), HIDDEN),
    (re.compile(r"\bAIza[\w-]{10,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"), HIDDEN),
    (
        re.compile(r"(?i)(\"?(?:api[-_]?key|token|secret|password|authorization)\"?\s*[=:]\s*\"?)[^\s\"&,}]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(\w+://)[^\s/@\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(\w+://[^\s?\"']+)\?[^\s\"']+"), rf"\1?{HIDDEN}"),
)


_SECRET_NAME = re.compile(
    r"(?i)(?:(?:api|access|private)[-_]?key|secret|password|passwd|passphrase|authorization|cookie|credential)s?$|token$"
)


def redacted(words: str, *, secrets: tuple[str, ...] = ()) -> str:
    """`words` without `secrets`, nor anything shaped like one, on one line of at most 500 characters."""
    return " ".join(_without(words, secrets=secrets).split())[:LIMIT]


def hidden(value: Json, *, secrets: tuple[str, ...] = ()) -> Json:
    """Plain JSON without `secrets`, nor what is under a name that secrets have, nor anything shaped like one, at any
    depth; also in text that is JSON itself, such as a tool call's arguments. Everything else stays word for word."""
    match value:
        case dict():
            return {
                key: HIDDEN if _is_secret(key) and not isinstance(each, dict | None) else hidden(each, secrets=secrets)
                for key, each in value.items()
            }
        case list() | tuple():
            return [hidden(each, secrets=secrets) for each in value]
        case str():
            return _hidden_in_text(value, secrets=secrets)
        case _:
            return value


def _hidden_in_text(text: str, *, secrets: tuple[str, ...]) -> str:
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            found = json.loads(text)
            fresh = hidden(found, secrets=secrets)
            return text if fresh == found else json.dumps(fresh, ensure_ascii=False)
    return _without(text, secrets=secrets)


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def _without(words: str, *, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            words = words.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        words = pattern.sub(instead, words)
    return words
