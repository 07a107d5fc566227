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
        "AKIACANARYCANARYCANA",
        "ghp_canarycanarycanarycanary and gho_canarycanarycanarycanary",
        "github_pat_canary_canarycanary",
        "xoxb-123456789012-canary",
        "vb_0123abcd_canarycanarycanarycanary",
        "-----BEGIN PRIVATE KEY-----\ncanary/canary+\n-----END PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\\ncanary\\n-canary",
        "aws_secret_access_key = canary",
        "SECRET_KEY='canary canary'",
        "{'password': 'canary canary', 'x': 1}",
        'a \\"client_secret\\": \\"canary\\" b',
        "Set-Cookie: theme=dark; sid=canary",
        "sessionid=canary",
        "a://x//https://user:canary@host/https://host?canary",
    ],
)
def test_what_is_or_looks_like_a_secret_is_hidden(words: str) -> None:
    told = redacted(words, secrets=("p1ain-canary!", ""))

    assert "canary" not in told.lower()
    assert "[hidden]" in told


@pytest.mark.parametrize(
    "words",
    [
        "The model gpt-x does not exist, see https://host/docs",
        "Is it? https://host/? No",
        "-----BEGIN CERTIFICATE----- public",
        "AKIA is a town, ghp_ a prefix, and xox- a beginning",
    ],
)
def test_what_is_harmless_stays(words: str) -> None:
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


@pytest.mark.parametrize("piece", ["a", "a://", "a:", "----", "-----BEGIN ", "token ", "cookie", 'secret"'])
def test_text_without_an_end_to_its_words_takes_no_longer_than_it_is_long(piece: str) -> None:
    """Quadratic, this would take an hour."""
    text = piece * (500_000 // len(piece))

    assert hidden({"url": text})["url"] == text


@pytest.mark.parametrize("piece", ["-----BEGIN PRIVATE KEY-----", "password=", "a://b@", "Cookie: a\n"])
def test_nor_does_text_that_is_full_of_beginnings(piece: str) -> None:
    assert HIDDEN in hidden({"text": piece * (500_000 // len(piece))})["text"]


def test_an_image_is_no_text() -> None:
    image = "data:image/png;base64,AKIACANARYCANARYCANA/" + "a" * 1_000

    alone, with_words = hidden([image, f"{image} sk-canary"])

    assert alone == image
    assert "canary" not in with_words.lower()
