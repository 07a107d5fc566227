"""Tools that are not done before the turn is stopped."""

from __future__ import annotations

import asyncio
import time

from tools.tool import tool


@tool
async def waits() -> str:
    """Take half a minute, and let itself be cancelled."""
    await asyncio.sleep(29)
    return "waited"


@tool
def works() -> str:
    """Take half a minute in a thread, which nothing can cancel."""
    time.sleep(29)
    return "worked"
