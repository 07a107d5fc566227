"""The toolbox that the settings describe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from tools.errors import ToolLoadError
from tools.output import Discreet, as_it_is
from tools.tool import Tool
from tools.toolbox import Toolbox


def toolbox_from(
    paths: Iterable[str], *, after_sync: Callable[[], object] | None = None, discreet: Discreet = as_it_is
) -> Toolbox:
    """A toolbox of the tools at these dotted paths (`package.module.function`). Raises `ToolLoadError`."""
    try:
        return Toolbox([load(path) for path in paths], after_sync=after_sync, discreet=discreet)
    except ValueError as error:
        raise ToolLoadError(str(error)) from error


def load(path: str) -> Tool:
    """The tool at a dotted path. Raises `ToolLoadError`."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ToolLoadError(f"There is no tool at {path!r}: {error}") from error
    if not isinstance(found, Tool):
        raise ToolLoadError(f"{path} is not a tool: it lacks the @tool decorator")
    return found
