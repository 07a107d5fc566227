"""What is vendored is what was vendored: every module is pinned by its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDORS = (
    "chat/static/verbatim/vendor",
    "history/static/verbatim/uplot",
    "tests/browser/front_end/fetch-event-source",
    "tests/system/openai_js",
)


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> Path:
    """Each folder with what others wrote."""
    folder: str = request.param
    return ROOT / folder


def pinned(vendor: Path) -> dict[str, str]:
    """Name and hash of each file in the list."""
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def test_every_vendored_module_has_the_hash_it_was_reviewed_with(vendor: Path) -> None:
    actual = {name: hashlib.sha256((vendor / name).read_bytes()).hexdigest() for name in pinned(vendor)}

    assert actual == pinned(vendor)


def test_no_module_is_vendored_without_being_pinned(vendor: Path) -> None:
    modules = {path.name for path in vendor.iterdir() if path.suffix in {".js", ".mjs", ".map", ".css"}}

    assert modules == set(pinned(vendor))


def test_the_readme_names_every_vendored_module(vendor: Path) -> None:
    readme = (vendor / "README.md").read_text()

    assert [name for name in pinned(vendor) if not name.endswith(".map") and f"`{name}`" not in readme] == []
