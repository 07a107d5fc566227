"""Provider words made fit for a log: no key, no token, no credentials in URLs, and not too many of them."""

from __future__ import annotations

import re

LIMIT = 500
_HIDDEN = "[hidden]"
_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{4,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|key|AIza)[-_][\w*.-]{4,}"), _HIDDEN),
    (re.compile(r"\bAIza[\w-]{10,}"), _HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]+)*"), _HIDDEN),
    (
        re.compile(r"(?i)(\"?(?:api[-_]?key|token|secret|password|authorization)\"?\s*[=:]\s*\"?)[^\s\"&,}]+"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(\w+://)[^\s/@\"']+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(\w+://[^\s?\"']+)\?[^\s\"']+"), rf"\1?{_HIDDEN}"),
)


def redacted(words: str, *, secrets: tuple[str, ...] = ()) -> str:
    """`words` without `secrets`, nor anything shaped like one, on one line of at most 500 characters."""
    for secret in secrets:
        if secret:
            words = words.replace(secret, _HIDDEN)
    for pattern, instead in _PATTERNS:
        words = pattern.sub(instead, words)
    return " ".join(words.split())[:LIMIT]
