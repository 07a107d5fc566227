"""Text as providers send it, made storable: halves of a character joined, NUL and what stays half replaced."""

from __future__ import annotations

import re
from typing import TypeAlias

Channel: TypeAlias = str | int | None
"""Whatever tells one stream of fragments from another."""

REPLACEMENT = "\ufffd"
_SURROGATE = re.compile("[\ud800-\udfff]")


def joined(text: str) -> str:
    """`text` with surrogate pairs as one character, and NUL and lone surrogates as U+FFFD."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", REPLACEMENT)


class Mender:
    """Joins characters whose two halves come in two fragments of one channel."""

    def __init__(self) -> None:
        self._halves: dict[Channel, str] = {}

    def mend(self, fragment: str, *, channel: Channel) -> str:
        """What can be shown of `fragment` now; its last half, if there is one, waits for the next fragment."""
        if not self._halves and fragment.isascii() and "\0" not in fragment:
            return fragment
        fragment = self._halves.pop(channel, "") + fragment
        if fragment and "\ud800" <= fragment[-1] <= "\udbff":
            self._halves[channel] = fragment[-1]
            fragment = fragment[:-1]
        return joined(fragment)

    def left(self) -> list[Channel]:
        """The channels whose last character never became whole; each lacks one U+FFFD."""
        channels = list(self._halves)
        self._halves.clear()
        return channels
