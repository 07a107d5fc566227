"""Structs that several threads may read."""

from __future__ import annotations

from typing import Any

import msgspec

READY: set[Any] = set()
"""Those that are."""


def ready(*types: Any) -> None:
    """Have these learned at once, where they are defined. msgspec learns what is in a struct when it first reads one;
    if two threads do so at the same time, the process crashes (seen with 0.22)."""
    for each in types:
        msgspec.json.Decoder(each)
        READY.add(each)
