"""What is installed is what was locked, and what is dangerous is not used."""

from __future__ import annotations

import ast
import re

import pytest

from tests.provider import ROOT

PACKAGES = ("llm", "tools", "history", "access", "streaming", "chat", "config")
FORBIDDEN = {"pickle", "marshal", "shelve", "dill"}


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_with_hashes(lock: str) -> None:
    joined = (ROOT / lock).read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    assert len(lines) > 20
    assert [line for line in lines if not re.match(r"[\w.\[\]-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


def test_nothing_of_ours_imports_pickle() -> None:
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                found |= {(path.name, name) for name in names if name.partition(".")[0] in FORBIDDEN}

    assert found == set()
