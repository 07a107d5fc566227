"""The bytes of OpenAI's chat completion chunks, cheap to make: most of each is the same."""

from __future__ import annotations

import time
from typing import Any

import msgspec

DONE = b"data: [DONE]\n\n"


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


class ChunkWriter:
    """Writes the chunks of one answer."""

    def __init__(self, *, answer_id: str, model: str) -> None:
        self._same = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        empty = msgspec.json.encode({**self._same, "choices": [{"index": 0, "delta": {}, "finish_reason": None}]})
        head, tail = empty.split(b'"delta":{}')
        self._head = b"data: " + head + b'"delta":'
        self._tail = tail + b"\n\n"

    def delta(self, delta: dict[str, Any]) -> bytes:
        """A fragment."""
        return self.delta_json(msgspec.json.encode(delta))

    def delta_json(self, delta: bytes) -> bytes:
        """A fragment, given as JSON."""
        return self._head + delta + self._tail

    def choice(self, *, usage: dict[str, Any] | None = None, **fields: Any) -> bytes:
        """A chunk with one choice of these fields."""
        choice = {"index": 0, "finish_reason": None, **fields}
        return self.chunk({"choices": [choice], **({"usage": usage} if usage else {})})

    def chunk(self, fields: dict[str, Any]) -> bytes:
        """A chunk of these fields."""
        return event(msgspec.json.encode({**self._same, **fields}))


def framed(payload: bytes) -> bytes:
    """One chunk of HTTP's chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def halves(character: str) -> list[bytes]:
    """The JSON of a `content` delta per UTF-16 code unit of `character`, escaped."""
    units = character.encode("utf-16-be", "surrogatepass")
    return [b'{"content":"\\u%b"}' % units[at : at + 2].hex().encode() for at in range(0, len(units), 2)]
