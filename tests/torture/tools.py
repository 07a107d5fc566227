"""Tools that note when they begin and end: whoever counts the notes knows what was executed, and how often."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from tests.torture.notes import Note, note
from tools.tool import ToolContext, tool

TIMEOUT = 3.0
"""How long each of them may take, in seconds."""
MUCH = 100_000


@tool(idempotent=True, timeout=TIMEOUT)
async def looks_up(number: int, seconds: float, context: ToolContext) -> str:
    """Look something up, which may be done any number of times."""
    run = _begins("looks_up", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return f"found {number}"


@tool(timeout=TIMEOUT)
async def books(number: int, seconds: float, context: ToolContext) -> str:
    """Book something, which may be done once."""
    run = _begins("books", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return f"booked {number}"


@tool(timeout=TIMEOUT)
def pays(number: int, seconds: float, context: ToolContext) -> str:
    """Pay something, once, in a thread that nothing can cancel."""
    run = _begins("pays", context)
    time.sleep(seconds)
    _ends(run)
    return f"paid {number}"


@tool(timeout=TIMEOUT)
async def raises(number: int, seconds: float, context: ToolContext) -> str:
    """Raise what no tool should."""
    _begins("raises", context)
    await asyncio.sleep(seconds)
    raise ZeroDivisionError


@tool(timeout=TIMEOUT)
async def returns_much(number: int, seconds: float, context: ToolContext) -> str:
    """Return more than a model is told."""
    run = _begins("returns_much", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return "x" * MUCH


@tool(timeout=TIMEOUT)
async def hangs(number: int, seconds: float, context: ToolContext) -> str:
    """Take longer than any tool may."""
    run = _begins("hangs", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return "at last"


NAMES = ("looks_up", "books", "pays", "raises", "returns_much", "hangs")
PATHS = tuple(f"tests.torture.tools.{name}" for name in NAMES)
IDEMPOTENT = ("looks_up",)


def _begins(tool: str, context: ToolContext) -> Note:
    """Note a new execution."""
    run: Note = {"tool": tool, "turn": context.turn, "call": context.call_id, "run": uuid4().hex}
    note("tool begins", **run)
    return run


def _ends(run: Note) -> None:
    note("tool ends", **run)
