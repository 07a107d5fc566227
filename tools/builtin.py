"""Two tools in the box: small, useful, and examples of how to write one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from tools import arithmetic
from tools.errors import ToolError
from tools.tool import tool


@tool(idempotent=True)
async def current_time(
    time_zone: Annotated[str, Field(description="IANA name, such as Europe/Berlin", max_length=100)] = "UTC",
) -> dict[str, str]:
    """Tell the current date and time in a time zone."""
    try:
        zone = UTC if time_zone.upper() == "UTC" else ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):  # unknown, not a relative path, a folder of zones
        raise ToolError(f"Unknown time zone {time_zone!r}. Use an IANA name, such as Europe/Berlin.") from None
    now = datetime.now(zone)
    return {"time": now.isoformat(timespec="seconds"), "weekday": now.strftime("%A"), "time_zone": time_zone}


@tool(idempotent=True)
async def calculator(
    expression: Annotated[str, Field(description="For example: (2 + 3) * sqrt(16) / 7")],
) -> str:
    """Calculate an arithmetic expression: + - * / // % **, parentheses, and functions such as sqrt, log or round."""
    try:
        return arithmetic.written(arithmetic.evaluate(expression))
    except arithmetic.ArithmeticProblem as problem:
        raise ToolError(str(problem)) from None
