"""The examples in the documents, so that tests can do what they say."""

from __future__ import annotations

import re
from pathlib import Path

from tests.provider import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """README's example for the file of that name, which its first line tells. Raises `KeyError`."""
    return examples(ROOT / "README.md")[name]


def examples(document: Path) -> dict[str, str]:
    """All of a document's, by the file that their first line names."""
    pattern = re.compile(r"^```python\n# (\S+?),.*?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    blocks: list[tuple[str, str]] = pattern.findall(document.read_text(encoding="utf-8"))
    return dict(blocks)
