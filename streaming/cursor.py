"""Where a viewer stands: "<seq>.<offset>", all events up to seq and offset code points of the draft after it."""

from __future__ import annotations

import re
from typing import NamedTuple

from streaming.errors import InvalidCursor


class Cursor(NamedTuple):
    """A position in a conversation. Clients treat its text as opaque."""

    seq: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.seq}.{self.offset}"


def parse(text: str) -> Cursor:
    """The cursor that `text` is; the empty text is the beginning. Raises `InvalidCursor`."""
    if not text:
        return Cursor()
    found = re.fullmatch(r"(\d{1,18})\.(\d{1,9})", text, re.ASCII)
    if found is None:
        raise InvalidCursor
    return Cursor(int(found[1]), int(found[2]))
