"""Tools that note when they begin and end: whoever counts the notes knows what was executed, and how often."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from tests.torture.notes import Note, note
from tools.tool import ToolContext, tool


@tool(idempotent=True)
async def looks_up(number: int, seconds: float, context: ToolContext) -> str:
    """Look something up, which may be done any number of times."""
    run = _begins("looks_up", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return f"found {number}"


@tool
async def books(number: int, seconds: float, context: ToolContext) -> str:
    """Book something, which may be done once."""
    run = _begins("books", context)
    await asyncio.sleep(seconds)
    _ends(run)
    return f"booked {number}"


@tool
def pays(number: int, seconds: float, context: ToolContext) -> str:
    """Pay something, once, in a thread that nothing can cancel."""
    run = _begins("pays", context)
    time.sleep(seconds)
    _ends(run)
    return f"paid {number}"


NAMES = ("looks_up", "books", "pays")
PATHS = tuple(f"tests.torture.tools.{name}" for name in NAMES)
IDEMPOTENT = ("looks_up",)


def _begins(tool: str, context: ToolContext) -> Note:
    """Note a new execution."""
    run: Note = {"tool": tool, "turn": context.turn, "call": context.call_id, "run": uuid4().hex}
    note("tool begins", **run)
    return run


def _ends(run: Note) -> None:
    note("tool ends", **run)
