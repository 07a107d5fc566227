"""The README's examples, so that tests can do what it says."""

from __future__ import annotations

import re

from tests.provider import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The example for the file of that name, which its first line tells. Raises `KeyError`."""
    blocks: list[tuple[str, str]] = re.findall(r"^```python\n# (\S+?),.*?\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)[name]
