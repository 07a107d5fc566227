"""What a tool is: a typed function with a name, a description and a schema for its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, Required, TypeAlias, cast, get_type_hints, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict  # pydantic refuses the one of `typing` before Python 3.12

from llm.types import Json, ToolSpec
from tools.errors import InvalidArguments

Function: TypeAlias = Callable[..., Any]

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What providers accept as the name of a tool."""
NAMED_PARAMETERS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """For whom a tool works: ids as text. A tool that wants it names a parameter of this type; models never see it.

    `principal` is the user's primary key, `call_id` the provider's name of the call.
    """

    principal: str
    conversation: str
    turn: str
    call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tool:
    """A function that a model may call. `timeout` is in seconds; an `idempotent` one may be run again after a crash."""

    function: Function
    spec: ToolSpec
    timeout: float
    idempotent: bool
    arguments: TypeAdapter[dict[str, Any]]
    context_parameter: str | None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as if it had never been decorated."""
        return self.function(*args, **kwargs)

    def bind(self, text: str, *, context: ToolContext) -> dict[str, Any]:
        """The keyword arguments for the function, from the JSON `text` a model wrote. None at all stands for `{}`.

        Raises `InvalidArguments`.
        """
        try:
            bound = self.arguments.validate_json(text.encode(errors="replace").strip() or b"{}")
        except ValidationError as error:
            raise InvalidArguments(_sentences(error)) from None
        return {**bound, self.context_parameter: context} if self.context_parameter else bound


@overload
def tool(function: Function, /) -> Tool: ...
@overload
def tool(*, name: str | None = None, timeout: float = 30.0, idempotent: bool = False) -> Callable[[Function], Tool]: ...
def tool(
    function: Function | None = None, /, *, name: str | None = None, timeout: float = 30.0, idempotent: bool = False
) -> Tool | Callable[[Function], Tool]:
    """Make a tool of a typed function, sync or async. Its docstring tells the model what it is for.

    Arguments are described and validated by pydantic from the annotations (`Annotated[int, Field(ge=1)]` works).
    The function returns text, anything that JSON can say, or a `ToolOutput`. Raises `TypeError` at once for a function
    that cannot be one.
    """

    def make(function: Function) -> Tool:
        chosen = name or function.__name__
        if not NAME.fullmatch(chosen):
            raise TypeError(f"{chosen!r} cannot be the name of a tool: up to 64 letters, digits, _ and -")
        if not function.__doc__:
            raise TypeError(f"{chosen} needs a docstring: it is all that a model knows of the tool")
        hints = get_type_hints(function, include_extras=True)
        context_parameter = next((key for key, hint in hints.items() if hint is ToolContext), None)
        parameters = _parameters(function, without=context_parameter)
        arguments = _arguments(chosen, parameters, hints=hints)
        return Tool(
            function=function,
            spec=ToolSpec(
                name=chosen, description=inspect.cleandoc(function.__doc__), parameters=_schema(arguments, parameters)
            ),
            timeout=timeout,
            idempotent=idempotent,
            arguments=arguments,
            context_parameter=context_parameter,
        )

    return make if function is None else make(function)


def _parameters(function: Function, *, without: str | None) -> Mapping[str, inspect.Parameter]:
    parameters = dict(inspect.signature(function).parameters)
    for parameter in parameters.values():
        if parameter.kind not in NAMED_PARAMETERS:
            raise TypeError(f"{function.__name__}: a model cannot fill {parameter}; name every parameter")
        if parameter.annotation is parameter.empty:
            raise TypeError(f"{function.__name__}: parameter {parameter.name} needs a type")
    return {key: parameter for key, parameter in parameters.items() if key != without}


def _arguments(
    name: str, parameters: Mapping[str, inspect.Parameter], *, hints: Mapping[str, Any]
) -> TypeAdapter[dict[str, Any]]:
    """A validator for the JSON object of arguments. A dictionary, not a model, so that any name will do and what is
    left out stays out: the function's own defaults apply."""
    fields = {
        key: Required[hints[key]] if parameter.default is parameter.empty else NotRequired[hints[key]]
        for key, parameter in parameters.items()
    }
    shape = cast(Any, TypedDict)(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(shape)


class _WithoutTitles(GenerateJsonSchema):
    """Titles only repeat the names, and every token of a schema is paid for."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(arguments: TypeAdapter[dict[str, Any]], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Json]:
    schema = arguments.json_schema(schema_generator=_WithoutTitles)
    del schema["title"]
    for key, parameter in parameters.items():
        if isinstance(parameter.default, str | int | float | bool):
            schema["properties"][key].setdefault("default", parameter.default)
    return schema


def _sentences(error: ValidationError, *, most: int = 10) -> str:
    """What is wrong, argument by argument, without repeating what was sent."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [": ".join(filter(None, (".".join(map(str, p["loc"])), p["msg"]))) for p in problems[:most]]
    return f"Invalid arguments. {'; '.join(lines)}"
