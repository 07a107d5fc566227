"""The caller's own tools in a request: which there are, and which of them must be called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from gateway.errors import BadParameter
from llm.types import Json, ToolChoice, ToolSpec
from tools.tool import NAME

MOST = 128


class FunctionSpec(msgspec.Struct, frozen=True):
    """A function that the model may call. `parameters` is a JSON Schema of type object; `strict`: what the model calls
    it with must be as that says."""

    name: str
    description: str | None = None
    parameters: dict[str, Json] | None = None
    strict: bool | None = None


class ToolSpecIn(msgspec.Struct, frozen=True):
    """A tool of the caller's."""

    type: str
    function: FunctionSpec | None = None


class Named(msgspec.Struct, frozen=True):
    """A function by its name."""

    name: str


class Forced(msgspec.Struct, frozen=True):
    """The tool that must be called."""

    type: str
    function: Named | None = None


ToolsIn: TypeAlias = Annotated[tuple[ToolSpecIn, ...], Meta(max_length=MOST)]
ChoiceIn: TypeAlias = Literal["auto", "none", "required"] | Forced


def tools_in(told: Sequence[ToolSpecIn]) -> tuple[ToolSpec, ...]:
    """The caller's tools. Raises `BadParameter`."""
    specs = tuple(_tool(tool, where=f"tools[{at}]") for at, tool in enumerate(told))
    names = [spec.name for spec in specs]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise BadParameter(f"There are two tools of the name {name}.", param=f"tools[{at}].function.name")
    return specs


def choice_in(told: ChoiceIn | None, *, tools: Sequence[ToolSpec]) -> tuple[ToolChoice, str]:
    """Whether a tool must be called, and which. Raises `BadParameter`."""
    if not isinstance(told, Forced):
        return told or "auto", ""
    if told.type != "function" or told.function is None:
        raise BadParameter(f"Unsupported tool_choice type: {told.type[:100]}", param="tool_choice.type")
    if told.function.name not in {tool.name for tool in tools}:
        raise BadParameter("tool_choice names none of the tools.", param="tool_choice.function.name")
    return "required", told.function.name


def _tool(told: ToolSpecIn, *, where: str) -> ToolSpec:
    if told.type != "function" or told.function is None:
        raise BadParameter(f"Unsupported tool type: {told.type[:100]}", param=f"{where}.type")
    function = told.function
    if not NAME.fullmatch(function.name):
        raise BadParameter("A tool's name has up to 64 letters, digits, _ and -.", param=f"{where}.function.name")
    parameters = {"type": "object", "properties": {}} if function.parameters is None else function.parameters
    if parameters.get("type") != "object":
        raise BadParameter("parameters must be of type object.", param=f"{where}.function.parameters")
    return ToolSpec(
        name=function.name, description=function.description or "", parameters=parameters, strict=function.strict
    )
