"""Reading server-sent events, as the standard says and as fetch-event-source does it."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import json


class Message(NamedTuple):
    """An event, as the standard tells it."""

    event: str
    data: str

    @property
    def json(self) -> Any:
        return json.decode(self.data)


class Reader:
    """Takes bytes as they come. What is in `messages` was dispatched; `position` is what a new request would say.

    The standard takes an id with its event; an `eager` reader, such as fetch-event-source, with its line.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self.messages: list[Message] = []
        self.comments: list[str] = []
        self.position = ""
        self.eager = eager
        self._new_connection()

    def _new_connection(self) -> None:
        self._rest = b""
        self._id = self.position
        self._event = ""
        self._data: list[str] = []
        self._empty = True

    def reconnected(self) -> Reader:
        """Without what was not complete when the connection broke."""
        self._new_connection()
        return self

    def feed(self, chunk: bytes) -> Reader:
        """More bytes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line.decode())
        return self

    def _line(self, line: str) -> None:
        assert "\r" not in line, "it would end the line as well"
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            self._dispatch()
        elif not name:
            self.comments.append(value)
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        else:
            assert name == "id", "a field that is not ours"
            self._id = value
            if self.eager:
                self.position = value

    def _dispatch(self) -> None:
        assert self._data, "fetch-event-source would make an empty message of it"
        self.position = self._id
        self.messages.append(Message(self._event or "message", "\n".join(self._data)))
        self._event, self._data = "", []
