"""Tools that say what they have found in the environment of their process."""

from __future__ import annotations

import os

from tests.system.canaries import ADDRESS_KEY, RAISED, SAID_BY_A_TOOL
from tools.errors import ToolError
from tools.output import Source, ToolOutput
from tools.tool import tool

NAMES = ("OPENAI_API_KEY", "OTHER_KEY", "SECRET_KEY", "DATABASE_URL", "REDIS_URL")


@tool
def returns() -> ToolOutput:
    """Return all of it, and where it is from."""
    address = f"https://example.org/?key={ADDRESS_KEY}"
    return ToolOutput(
        {**{name: os.environ[name] for name in NAMES}, "said": SAID_BY_A_TOOL},
        sources=[Source(title=os.environ["SECRET_KEY"], url=address)],
    )


@tool
async def refuses() -> str:
    """Say it as the reason."""
    raise ToolError(f"401 for {os.environ['OPENAI_API_KEY']}")


@tool
def raises() -> str:
    """Raise it."""
    raise RuntimeError(f"401 for {os.environ['OPENAI_API_KEY']}, password={RAISED}")
