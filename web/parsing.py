"""JSON bodies, held to their limits of size and depth before they are parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser

from history.conf import chat_settings
from streaming.errors import InvalidRequest, TextTooLong

STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""A string that does not end matches as well, and nothing is tried twice: the time is linear in the body's length."""


class BoundedJsonParser(BaseParser):
    """Refuses large, deep and malformed bodies, not-a-number and halves of surrogate pairs."""

    media_type = "application/json"

    @property
    def most(self) -> int:
        """Bytes that a body may have."""
        return chat_settings().max_message_bytes

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body's value; no body at all stands for `{}`. Raises `TextTooLong` or `InvalidRequest`."""
        most = self.most
        body: bytes = stream.read(most + 1)
        if len(body) > most:
            raise TextTooLong(f"A request may have {most:,} bytes; this one has more.")
        if depth_exceeds(chat_settings().max_depth, body=body):
            raise InvalidRequest(f"JSON may be nested {chat_settings().max_depth} deep; this is nested deeper.")
        return self.decode(body)

    def decode(self, body: bytes) -> Any:
        """The value of a body that is within its limits."""
        try:
            return msgspec.json.decode(body) if body else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidRequest("This is not JSON.") from None


def depth_exceeds(most: int, *, body: bytes) -> bool:
    """Whether objects and arrays are nested more than `most` deep; needs no more memory than one match."""
    depth = 0
    for found in STRING_OR_BRACKET.finditer(body):
        match body[found.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth > most:
                    return True
            case 0x5D | 0x7D:  # ] }
                depth -= 1
    return False
