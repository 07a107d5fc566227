"""What a line of the process's log looks like."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any
from uuid import uuid4

import pytest

from streaming.log_lines import about, about_request, formatter, have_servers_write_so

KEY = "correct-horse-battery-staple"


def record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    """As a room would log it."""
    found = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("some.room", logging.WARNING, "room.py", 7, message, arguments, found)


def test_a_line_of_json_tells_whose_request_and_which_turn_it_is_about() -> None:
    conversation, turn = uuid4(), uuid4()

    with about_request([(b"x-request-id", b"abc-123")]), about(conversation, turn):
        line = json.loads(formatter("json").format(record("%d of %s", 2, "three")))

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "2 of three",
        "level": "warning",
        "logger": "some.room",
        "request": "abc-123",
        "conversation": str(conversation),
        "turn": str(turn),
    }
    assert "turn" not in json.loads(formatter("json").format(record("later")))


@pytest.mark.parametrize("said", [b"", b"two words", b"line\nbreak", b"x" * 129, "é".encode()])
def test_a_request_without_a_good_name_gets_one(said: bytes) -> None:
    with about_request([(b"x-request-id", said)]):
        line = json.loads(formatter("json").format(record("here")))

    assert line["request"].encode() != said
    assert len(line["request"]) == 32


def test_a_plain_line_has_the_same_in_it() -> None:
    with about_request([(b"x-request-id", b"abc-123")]):
        line = formatter("plain").format(record("here"))

    date, time, *rest = line.split(" ")
    assert (len(date), len(time)) == (10, 12)
    assert rest == ["WARNING", "some.room:", "here", "request=abc-123"]


@pytest.mark.parametrize("kind", ["json", "plain"])
def test_no_line_and_no_traceback_shows_a_secret(settings: Any, kind: str) -> None:
    """S7."""
    settings.CHAT = {"PROVIDER_KEYS": {"ANY_NAME": KEY}}
    try:
        raise ValueError(f"refused: {KEY}, Bearer abcdef123456")
    except ValueError as error:
        line = formatter(kind).format(record("asked with %s", KEY, error=error))

    assert "asked with [hidden]" in line
    assert "ValueError: refused: [hidden], Bearer [hidden]" in line
    assert KEY not in line
    assert "abcdef123456" not in line


def test_what_is_said_while_python_ends_is_not_told_since_it_cannot_be_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)

    line = json.loads(formatter("json").format(record("asked with %s", KEY)))

    assert line["event"] == "(said while Python was ending)"
    assert "exception" not in line


def test_servers_write_the_same_lines_unless_they_write_none(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHAT = {"PROVIDER_KEYS": {"ANY_NAME": KEY}}
    access, root = logging.getLogger("uvicorn.access"), logging.getLogger()
    handler, ours = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    ours.setFormatter(formatter("plain"))
    monkeypatch.setattr(access, "handlers", [handler])
    monkeypatch.setattr(logging.getLogger("uvicorn"), "handlers", [])
    monkeypatch.setattr(root, "handlers", [ours])

    have_servers_write_so()

    assert handler.formatter is ours.formatter
    assert logging.getLogger("uvicorn").handlers == []
    assert KEY not in handler.format(record("GET /?key=%s", KEY))
