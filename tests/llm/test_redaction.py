"""Provider words on their way to a log."""

from __future__ import annotations

import json

import pytest

from llm.redaction import HIDDEN, LIMIT, hidden, redacted


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


PLANTED = {
    "header": {"Authorization": "Bearer abc.DEF-123", "X-API-Key": ["one-canary", "two-canary"]},
    "arguments": '{"path": "/tmp", "password": "correct horse canary", "nested": [{"apiKey": "canary"}]}',
    "result": "GET https://ada:canary@example.org/a?key=canary answered with sk-canary-0123456789",
    "deep": [[{"access_token": "canary", "refreshToken": "canary", "client_secret": 7}]],
    "said": "The key is known-canary.",
}


def test_of_plain_json_secrets_are_hidden_at_every_depth_and_in_text_that_is_json() -> None:
    """A0.15, S7."""
    fresh = hidden(PLANTED, secrets=("known-canary",))

    told = json.dumps(fresh)
    assert "canary" not in told
    assert "abc.DEF" not in told
    assert json.loads(fresh["arguments"]) == {"path": "/tmp", "password": HIDDEN, "nested": [{"apiKey": HIDDEN}]}
    assert fresh["deep"] == [[{"access_token": HIDDEN, "refreshToken": HIDDEN, "client_secret": HIDDEN}]]
    assert fresh["said"] == f"The key is {HIDDEN}."


def test_what_is_no_secret_stays_word_for_word() -> None:
    kept = {
        "max_tokens": 100,
        "text": 'Größe:  two\n  lines, "quoted" 👀',
        "arguments": '{ "a":  1 }',
        "broken": '{"a": ',
        "schema": {"properties": {"password": {"type": "string"}}},
        "none": None,
        "token": None,
    }

    assert hidden(kept) == kept


def test_text_without_an_end_to_its_words_takes_no_longer_than_it_is_long() -> None:
    """Such as an image in a message; quadratic, this would take hours."""
    image = "a" * 2_000_000

    assert hidden({"url": image})["url"] == image
