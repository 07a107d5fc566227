"""Arithmetic on text, without `eval`: the syntax tree is walked, and every step is bounded before it is taken."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import TypeAlias

Number: TypeAlias = int | float

LONGEST = 500
"""Characters of an expression."""
BITS = 4_096
"""Of the largest integer that may come up: about 1,200 digits."""
DIGITS = 15
"""Significant digits of a decimal result: what a double can hold."""


class ArithmeticProblem(ValueError):
    """Why an expression has no value, as a sentence."""


def _rounded(number: Number, places: Number = 0) -> Number:
    if not isinstance(places, int) or abs(places) > DIGITS:
        raise ArithmeticProblem(f"round takes up to {DIGITS} places.")
    return round(number, places) if places else round(number)


CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "ln": math.log,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": _rounded,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
TYPOGRAPHY = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**"})  # noqa: RUF001 -- these are what people type


def evaluate(expression: str) -> Number:
    """The value of an arithmetic expression. Raises `ArithmeticProblem`, and nothing else."""
    if len(expression) > LONGEST:
        raise ArithmeticProblem(f"The expression is longer than {LONGEST} characters.")
    try:
        return _value(_parsed(expression))
    except ArithmeticProblem:
        raise
    except ZeroDivisionError:
        raise ArithmeticProblem("Division by zero.") from None
    except OverflowError:
        raise ArithmeticProblem("A number gets too large.") from None
    except RecursionError:
        raise ArithmeticProblem("The expression is nested too deeply.") from None
    except (TypeError, ValueError):
        raise ArithmeticProblem("A function does not accept its arguments.") from None


def written(number: Number) -> str:
    """A number as people write it: 0.3, not 0.30000000000000004."""
    return str(number) if isinstance(number, int) else f"{number:.{DIGITS}g}"


def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.translate(TYPOGRAPHY).strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError):  # ValueError: NUL or half a character; MemoryError: nesting
        raise ArithmeticProblem("This is not an arithmetic expression.") from None


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return UNARY[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _combined(type(op), _value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _bounded(FUNCTIONS[name](*map(_value, args)))
    raise ArithmeticProblem(
        f"Only numbers, + - * / // % **, parentheses, {', '.join(CONSTANTS)} and {', '.join(FUNCTIONS)} are allowed."
    )


def _combined(op: type[ast.operator], left: Number, right: Number) -> Number:
    whole = isinstance(left, int) and isinstance(right, int)
    if op is ast.Pow and whole and int(left).bit_length() * abs(right) > BITS:
        raise ArithmeticProblem("The power is too large.")  # before it is computed: that is what would hang
    return _bounded(BINARY[op](left, right))


def _bounded(number: object) -> Number:
    if isinstance(number, int) and number.bit_length() <= BITS:
        return number
    if isinstance(number, float) and math.isfinite(number):
        return number
    if isinstance(number, complex):
        raise ArithmeticProblem("The result is not a real number.")
    raise ArithmeticProblem("A number gets too large.")
