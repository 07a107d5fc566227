"""Provider words on their way to a log."""

from __future__ import annotations

import pytest

from llm.redaction import LIMIT, redacted


@pytest.mark.parametrize(
    "words",
    [
        "Incorrect API key provided: sk-proj-canary*****wxyz.",
        "Authorization: Bearer canary.canary",
        "Basic Y2FuYXJ5OmNhbmFyeQ==canary",
        '{"api_key": "canary"}',
        "token=canary&x=1",
        "password: canary",
        "https://user:canary@host/path",
        "https://host/path?key=canary",
        "a JWT eyJhbGciOiJIUzI1.eyJjYW5hcnkiOjF9.canary",
        "AIzaSyCanarycanarycanary",
        "the plain secret is p1ain-canary!",
    ],
)
def test_what_is_or_looks_like_a_secret_is_hidden(words: str) -> None:
    told = redacted(words, secrets=("p1ain-canary!", ""))

    assert "canary" not in told.lower()
    assert "[hidden]" in told


def test_what_is_harmless_stays() -> None:
    words = "The model gpt-x does not exist, see https://host/docs"

    assert redacted(words, secrets=("",)) == words


def test_it_is_one_line_of_limited_length() -> None:
    told = redacted("a\nb\r\n" * 1000)

    assert "\n" not in told
    assert len(told) == LIMIT
