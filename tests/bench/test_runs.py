"""Runs in turn, ratios run by run, and the table of it all."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.document import write
from bench.runs import Figures, Measurement, run, shown, spread, table
from bench.stage import Plan

NO_STAGE: Any = None
TWICE = Plan(streams=1, seconds=1.0, runs=2, cases=())


def measurement(order: list[str], **figures: list[Figures]) -> Measurement:
    """Cases that give these figures, one after the other, and note when they are asked."""

    async def case(stage: Any, *, name: str) -> Figures:
        order.append(name)
        return figures[name][order.count(name) - 1]

    cases = {name: partial(case, name=name) for name in figures}
    return Measurement(title="t", cases=cases, ratios={"to raw": ("cpu", lambda name: "raw")})


def test_cases_take_turns_and_are_compared_within_one_run() -> None:
    order: list[str] = []
    asked = measurement(order, raw=[{"cpu": 10.0}, {"cpu": 20.0}], ours=[{"cpu": 5.0}, {"cpu": 15.0}])

    found = run(asked, stage=NO_STAGE, plan=TWICE)

    assert order == ["raw", "ours", "raw", "ours"]
    assert [figures["to raw"] for figures in found.cases["ours"]] == [0.5, 0.75]


def test_only_cases_with_a_part_in_their_names_are_run() -> None:
    order: list[str] = []
    asked = measurement(order, raw=[{"cpu": 1.0}], ours=[{"cpu": 1.0}], others=[{"cpu": 1.0}])

    run(asked, stage=NO_STAGE, plan=TWICE._replace(runs=1, cases=("our", "oth")))

    assert order == ["ours", "others"]


def test_a_case_that_fails_leaves_the_others_their_figures(capsys: pytest.CaptureFixture[str]) -> None:
    asked = measurement([], raw=[], ours=[{"cpu": 5.0}, {"cpu": 6.0}])

    found = run(asked, stage=NO_STAGE, plan=TWICE)

    assert "IndexError" in capsys.readouterr().err
    assert table(found.cases).splitlines() == [
        "|  | cpu |",
        "| --- | --- |",
        "| raw |  |",
        "| ours | 5.50 (5-6) |",
    ]


def test_a_row_has_nothing_where_its_case_has_no_figure() -> None:
    printed = table({"a": [{"x": 1.0, "y": 2.0}], "b": [{"y": 3.0}]})

    assert printed.splitlines()[2:] == ["| a | 1 | 2 |", "| b |  | 3 |"]


def test_the_spread_is_left_out_if_there_is_none_to_see() -> None:
    assert spread([1.001, 1.002, 1.004]) == "1.00"
    assert spread([3.0, 1.0, 2.0]) == "2 (1-3)"
    assert spread([]) == ""


def test_figures_have_two_or_three_digits() -> None:
    assert [shown(value) for value in (0.123, 1.0, 12.34, 123.4, 12345.6)] == ["0.12", "1", "12.3", "123", "12,346"]


def test_a_document_is_refreshed_in_its_place_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench x -->\nold\n<!-- end -->\nb\n<!-- bench y -->\nkept\n<!-- end -->\n")

    write(page, name="x", report="new\n")

    assert page.read_text() == ("a\n<!-- bench x -->\nnew\n<!-- end -->\nb\n<!-- bench y -->\nkept\n<!-- end -->\n")
    with pytest.raises(KeyError):
        write(page, name="z", report="")
