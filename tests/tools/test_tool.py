"""From a typed function to a tool: what a model sees of it, and which arguments it accepts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from tools.errors import InvalidArguments
from tools.tool import Tool, ToolContext, tool

CONTEXT = ToolContext(principal="7", conversation="c", turn="t")


@tool
def weather(city: str, *, days: Annotated[int, Field(ge=1, le=7)] = 3, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather.

    For a week at most.
    """
    return f"{city} {days} {unit}"


@tool(name="who-am-i", timeout=2.5, idempotent=True)
async def whoami(context: ToolContext) -> str:
    """Tell who asks."""
    return context.principal


def test_a_model_sees_name_docstring_and_schema() -> None:
    spec = weather.spec

    assert spec.name == "weather"
    assert spec.description == "Tell the weather.\n\nFor a week at most."
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 7, "default": 3},
            "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    Draft202012Validator.check_schema(spec.parameters)


def test_the_context_is_given_and_not_shown() -> None:
    bound = whoami.bind("{}", context=CONTEXT)

    assert bound == {"context": CONTEXT}
    assert whoami.spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_model_cannot_supply_the_context_itself() -> None:
    with pytest.raises(InvalidArguments, match="context"):
        whoami.bind('{"context": {"principal": "1"}}', context=CONTEXT)


def test_options_are_kept() -> None:
    assert (whoami.name, whoami.timeout, whoami.idempotent) == ("who-am-i", 2.5, True)
    assert (weather.timeout, weather.idempotent) == (30.0, False)


def test_a_tool_is_still_a_function() -> None:
    assert weather("Oslo", days=1) == "Oslo 1 C"


def test_what_is_left_out_is_left_to_the_function() -> None:
    assert weather.bind('{"city": "Oslo"}', context=CONTEXT) == {"city": "Oslo"}


def test_no_arguments_at_all_stand_for_an_empty_object() -> None:
    assert whoami.bind("  ", context=CONTEXT) == {"context": CONTEXT}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"city": "Oslo"', "Invalid JSON"),
        ('["Oslo"]', "Input should be an object"),
        ("", "city: Field required"),
        ('{"city": 5}', "city: Input should be a valid string"),
        ('{"city": "Oslo", "days": 8}', "days: Input should be less than or equal to 7"),
        ('{"city": "Oslo", "place": "x"}', "place: Extra inputs are not permitted"),
        ('{"city": "\\ud83d"}', "Invalid JSON"),
        ('{"city": "\ud83d", "days": 0}', "days: Input should be greater"),
        ('{"city":' + "[" * 5_000, "Invalid JSON: recursion limit"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: str, complaint: str) -> None:
    with pytest.raises(InvalidArguments, match=complaint):
        weather.bind(arguments, context=CONTEXT)


def test_parameters_may_be_named_like_anything() -> None:
    @tool
    def odd(schema: int, model_config: int, copy: int = 0) -> int:
        """Add."""
        return schema + model_config + copy

    assert odd.bind('{"schema": 1, "model_config": 2}', context=CONTEXT) == {"schema": 1, "model_config": 2}


def undocumented(city: str) -> str:
    return city


def untyped(city) -> str:  # type: ignore[no-untyped-def]
    """Tell."""
    return str(city)


def variadic(*cities: str) -> str:
    """Tell."""
    return str(cities)


@pytest.mark.parametrize(
    ("function", "options", "complaint"),
    [
        (undocumented, {}, "docstring"),
        (untyped, {}, "city needs a type"),
        (variadic, {}, "cannot fill"),
        (weather.function, {"name": "the weather"}, "cannot be the name"),
    ],
)
def test_a_function_that_cannot_be_a_tool_fails_at_once(function: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        tool(**options)(function)


def test_the_decorator_makes_tools() -> None:
    assert isinstance(weather, Tool)
    assert isinstance(whoami, Tool)
