"""Words made fit for a log: no key, no token, no credentials in URLs; known by their value, their name or their shape.

What is looked through may be long, and made by somebody who means harm: no pattern reads a stretch again for each place
in it where a match could begin.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress

from llm.types import Json

LIMIT = 500
HIDDEN = "[hidden]"
_PEM = r"[A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_KEY = r"(?:api|access|private|secret|signing)[-_]?key"
_NAMES = rf"{_KEY}|secret|passw(?:or)?d|passphrase|authorization|credential|session_?id"
_VALUE = r"(?:(?<=\")[^\"\r\n]+|(?<=')[^'\r\n]+|[^\s\"&,}]+)"
_PATTERNS = (
    (re.compile(rf"-----BEGIN {_PEM}[^-]*(?:-(?!----)[^-]*)*(?:-----END {_PEM})?"), HIDDEN),
    (re.compile(r"(?i)(cookies?[\\\"']{0,4}\s*[=:]\s*)[^\r\n]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{4,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|key|AIza)[-_][\w*.-]{4,}"), HIDDEN),
    (re.compile(r"\bAIza[\w-]{10,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\b(?:gh[opsur]|github_pat)_\w{16,}"), HIDDEN),
    (re.compile(r"\bvb_[0-9a-f]{8}_[\w-]{20,}"), HIDDEN),
    (re.compile(r"\bxox[a-z]-[\w-]{8,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"), HIDDEN),
    (re.compile(rf"(?i)((?:{_NAMES}|token)[\\\"']{{0,4}}\s*[=:]\s*\\{{0,2}}[\"']?){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(\w+://)[^\s/@\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(\w+://[^\s?\"']*)(\?[^\s\"']+)?"), lambda found: found[1] + (f"?{HIDDEN}" if found[2] else "")),
)
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES}|cookie)s?$|token$")
_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=]*", re.ASCII)
"""Megabytes in which nothing can be read."""


def redacted(words: str, *, secrets: tuple[str, ...] = ()) -> str:
    """`words` without `secrets`, nor anything shaped like one, on one line of at most 500 characters."""
    return " ".join(unshaped(without(words, secrets)).split())[:LIMIT]


def without(text: str, secrets: tuple[str, ...]) -> str:
    """`text` with none of these values in it. One that is part of another comes after that."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text


def unshaped(text: str) -> str:
    """`text` without anything that is shaped like a secret."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def hidden(value: Json, *, secrets: tuple[str, ...] = ()) -> Json:
    """Plain JSON without `secrets`, nor what is under a name that secrets have, nor anything shaped like one, at any
    depth; also in text that is JSON itself, such as a tool call's arguments. Everything else stays word for word."""
    match value:
        case dict():
            return {
                key: HIDDEN if is_secret(key) and not isinstance(each, dict | None) else hidden(each, secrets=secrets)
                for key, each in value.items()
            }
        case list() | tuple():
            return [hidden(each, secrets=secrets) for each in value]
        case str():
            return _hidden_in_text(value, secrets=secrets)
        case _:
            return value


def is_secret(name: object) -> bool:
    """Whether what goes by that name is a secret."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def _hidden_in_text(text: str, *, secrets: tuple[str, ...]) -> str:
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            found = json.loads(text)
            fresh = hidden(found, secrets=secrets)
            return text if fresh == found else json.dumps(fresh, ensure_ascii=False)
    if _IMAGE.fullmatch(text):
        return text
    return unshaped(without(text, secrets))
