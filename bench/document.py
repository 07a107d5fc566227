"""Puts what was printed into a document: between a comment that names the measurement and the one that ends it."""

from __future__ import annotations

import re
from pathlib import Path

SECTION = re.compile(r"(<!-- bench (?P<name>\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def refreshed(text: str, *, name: str, report: str) -> str:
    """The document with this report in the measurement's place. Raises `KeyError` if it has none."""
    if name not in {found["name"] for found in SECTION.finditer(text)}:
        raise KeyError(name)
    return SECTION.sub(lambda found: f"{found[1]}{report}{found[3]}" if found["name"] == name else found[0], text)


def write(path: Path, *, name: str, report: str) -> None:
    """Refresh a file."""
    path.write_text(refreshed(path.read_text(encoding="utf-8"), name=name, report=report), encoding="utf-8")
