"""What a nursery is asked for."""

from __future__ import annotations

import msgspec

LONGEST = 131_072
"""Bytes of a message."""


class Born(msgspec.Struct):
    """A process that runs `python -m ARGUMENTS`."""

    arguments: list[str]
    folder: str
    env: dict[str, str]
