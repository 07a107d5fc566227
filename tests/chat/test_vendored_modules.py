"""What is vendored is what was vendored: every module is pinned by its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[2] / "chat" / "static" / "verbatim" / "vendor"


def pinned() -> dict[str, str]:
    """Name and hash of each file in the list."""
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def test_every_vendored_module_has_the_hash_it_was_reviewed_with() -> None:
    actual = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in pinned()}

    assert actual == pinned()


def test_no_module_is_vendored_without_being_pinned() -> None:
    modules = {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".mjs", ".map", ".css"}}

    assert modules == set(pinned())


def test_the_readme_names_every_vendored_module() -> None:
    readme = (VENDOR / "README.md").read_text()

    assert [name for name in pinned() if not name.endswith(".map") and f"`{name}`" not in readme] == []
