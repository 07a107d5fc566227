"""What is stored of a draft, from its batches: the part that is text, and not reasoning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Batch = Mapping[str, Any]
"""With `attempt`, `hop`, `start`, `text` and `runs`."""


def newest(batches: Iterable[Batch]) -> tuple[int, str]:
    """Attempt and text of the hop in progress; 0 and nothing if there are no batches."""
    ordered = sorted(batches, key=lambda batch: (batch["attempt"], batch["hop"], batch["start"]))
    if not ordered:
        return 0, ""
    last = ordered[-1]["attempt"], ordered[-1]["hop"]
    mine = [batch for batch in ordered if (batch["attempt"], batch["hop"]) == last]
    return last[0], "".join(map(_text, mine))


def _text(batch: Batch) -> str:
    at, found = 0, []
    for channel, length in batch["runs"]:
        if channel == "text":
            found.append(batch["text"][at : at + length])
        at += length
    return "".join(found)
