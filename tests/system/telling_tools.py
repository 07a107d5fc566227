"""A tool that tells of the process in which it runs."""

from __future__ import annotations

import sys

from tools.tool import tool


@tool
def is_imported(module: str) -> bool:
    """Whether this process has imported a module."""
    return module in sys.modules
