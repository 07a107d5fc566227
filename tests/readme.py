"""The README's examples, so that tests can do what it says."""

from __future__ import annotations

import re

from tests.provider import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The example for the file of that name, which its first line tells. Raises `KeyError`."""
    pattern = re.compile(r"^```python\n# (\S+?),.*?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    blocks: list[tuple[str, str]] = pattern.findall(README)
    return dict(blocks)[name]
