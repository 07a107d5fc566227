"""What a turn was asked to be: everything that a process which takes it over needs beside the log."""

from __future__ import annotations

import msgspec

from llm.shapes import ready
from llm.types import Sampling, ToolChoice, ToolSpec


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored in `Turn.options`; unknown fields are ignored, so that versions can share a database."""

    profile: str = ""
    """The model profile's name."""
    sampling: Sampling | None = None
    """Goes before the profile's, value by value."""
    system: str = ""
    """Added after the profile's system prompt."""
    no_tools: bool = False
    """Do not offer the site's tools."""
    tools: tuple[ToolSpec, ...] = ()
    """The caller's own tools; a call to one ends the turn."""
    tool_choice: ToolChoice = "auto"
    tool: str = ""
    """The tool that the model must call first."""


ready(Options)
