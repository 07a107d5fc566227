"""Tools that go wrong, each in its own way, and one that does not."""

from __future__ import annotations

import asyncio

from tools.tool import tool

MEGABYTE = 1024 * 1024


@tool(idempotent=True)
async def echo(said: str) -> str:
    """Say what was said."""
    return said


@tool
def raises() -> str:
    """Raise what no tool should."""
    raise ZeroDivisionError("a secret of the tool's own")


@tool(timeout=0.5)
async def hangs() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return "never"


@tool
def huge() -> str:
    """Return 10 MB."""
    return "x" * (10 * MEGABYTE)
