"""The tools in the box."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.types import ToolCall
from tools import arithmetic
from tools.arithmetic import BITS, ArithmeticProblem, evaluate, written
from tools.loading import toolbox_from
from tools.tool import ToolContext
from tools.toolbox import ToolAnswer

CONTEXT = ToolContext(principal="7", conversation="c", turn="t")


async def ask(name: str, **arguments: str) -> ToolAnswer:
    box = toolbox_from([f"tools.builtin.{name}"])
    return await box.run(ToolCall(id="1", name=name, arguments=json.dumps(arguments)), context=CONTEXT, index=0)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("7 / 2", 3.5),
        ("7 // 2", 3),
        ("-7 % 3", 2),
        ("2 ** 10", 1024),
        ("2^10", 1024),
        ("2 ** -1", 0.5),
        ("6 \N{MULTIPLICATION SIGN} 7 \N{MINUS SIGN} 2 \N{DIVISION SIGN} 2", 41.0),
        ("sqrt(16) + abs(-3)", 7.0),
        ("round(2.71828, 2)", 2.72),
        ("max(1, 2, 3) - min(4, 5)", -1),
        ("log(8, 2)", 3.0),
        ("pi", math.pi),
        ("123456789123456789 * 987654321987654321", 123456789123456789 * 987654321987654321),
    ],
)
def test_arithmetic_is_right(expression: str, value: float) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "not an arithmetic expression"),
        ("2 +", "not an arithmetic expression"),
        ("\0", "not an arithmetic expression"),
        ("\ud83d", "not an arithmetic expression"),
        ("1 / 0", "Division by zero"),
        ("9 ** 9 ** 9 ** 9", "power is too large"),
        ("10.0 ** 400", "too large"),
        ("1e400", "too large"),
        ("1e400 - 1e400", "too large"),
        ("exp(1000)", "too large"),
        ("(-1) ** 0.5", "not a real number"),
        ("sqrt(-1)", "does not accept its arguments"),
        ("max()", "does not accept its arguments"),
        ("round(1, -10 ** 9)", "up to 15 places"),
        ("True + 1", "Only numbers"),
        ("'a' * 100", "Only numbers"),
        ("().__class__", "Only numbers"),
        ("__import__('os')", "Only numbers"),
        ("abs(*[1])", "Only numbers"),
        ("max(1, key=abs)", "Only numbers"),
        ("[x for x in (1, 2)]", "Only numbers"),
        ("1 if 1 else 2", "Only numbers"),
        ("1 < 2", "Only numbers"),
        ("lambda: 1", "Only numbers"),
        ("1 << 100", "Only numbers"),
        ("1j", "Only numbers"),
        ("(" * 300, "not an arithmetic expression"),
        ("1" * 501, "longer than 500"),
    ],
)
def test_what_is_not_arithmetic_is_refused_with_a_reason(expression: str, complaint: str) -> None:
    with pytest.raises(ArithmeticProblem, match=complaint):
        evaluate(expression)


LEAVES = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from([*arithmetic.CONSTANTS, "x", "'a'", "1e308"]),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "^", "@"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.tuples(st.sampled_from([*arithmetic.FUNCTIONS, "eval"]), st.lists(inner, max_size=3)).map(
            lambda parts: f"{parts[0]}({', '.join(parts[1])})"
        ),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=20,
)


@given(st.one_of(EXPRESSIONS, st.text(max_size=40), st.text(alphabet="0123456789+-*/().e, ", max_size=60)))
def test_any_text_has_a_bounded_value_or_a_reason(expression: str) -> None:
    try:
        value = evaluate(expression)
    except ArithmeticProblem:
        return

    assert math.isfinite(value) if isinstance(value, float) else value.bit_length() <= BITS
    assert len(written(value)) < 1_300


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_integers_are_exact(left: int, right: int) -> None:
    assert evaluate(f"{left} * {right} - {left} + {right}") == left * right - left + right


async def test_the_calculator_writes_numbers_as_people_do() -> None:
    assert (await ask("calculator", expression="0.1 + 0.2")).content == "0.3"
    assert (await ask("calculator", expression="2 ** 100")).content == str(2**100)


async def test_the_calculator_tells_the_model_what_is_wrong() -> None:
    answered = await ask("calculator", expression="1 / 0")

    assert (answered.content, answered.is_error) == ("Division by zero.", True)


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("Asia/Tokyo", 9)])
async def test_the_time_is_now_in_the_zone(zone: str, hours: int) -> None:
    before = datetime.now(UTC).replace(microsecond=0)

    told = json.loads((await ask("current_time", time_zone=zone)).content)

    time = datetime.fromisoformat(told["time"])
    assert before <= time <= datetime.now(UTC)
    assert time.utcoffset() == timedelta(hours=hours)
    assert (told["weekday"], told["time_zone"]) == (time.strftime("%A"), zone)


async def test_the_time_needs_no_zone() -> None:
    assert json.loads((await ask("current_time")).content)["time"].endswith("+00:00")


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "America", "", "/etc/localtime", "a\0b"])
async def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    answered = await ask("current_time", time_zone=zone)

    assert answered.is_error
    assert answered.content.startswith("Unknown time zone")
