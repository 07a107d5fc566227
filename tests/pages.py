"""The examples in a document, with what each says it prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.provider import ROOT

CLIENTS = ROOT / "docs" / "clients"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
ANYTHING = "…"


class Example(NamedTuple):
    """A piece of code, and the text block after it; empty if there is none."""

    language: str
    code: str
    output: str

    def is_output(self, printed: str) -> bool:
        """Whether this is what it says it prints; `…` stands for anything."""
        pattern = ".*".join(map(re.escape, self.output.split(ANYTHING)))
        return re.fullmatch(pattern.rstrip("\\\n"), printed.rstrip("\n"), flags=re.DOTALL) is not None


def examples(page: Path) -> list[Example]:
    """All of them, in order."""
    found: list[Example] = []
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "text":
            found[-1] = found[-1]._replace(output=text)
        else:
            found.append(Example(language, text, ""))
    return found
