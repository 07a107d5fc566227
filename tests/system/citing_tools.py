"""A tool that says where it found something."""

from __future__ import annotations

from tools.output import Source, ToolOutput
from tools.tool import tool


@tool(idempotent=True)
def look_up(q: str) -> ToolOutput:
    """Look something up."""
    source = Source(title="About it", url="https://example.org/about")
    return ToolOutput(f"{q} is good.", sources=[source, source])
