"""Repeating what is measured, its cases in turn, and printing the median and the spread of each figure."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeAlias

import uvloop

from bench.measure import Neighbours
from bench.stage import Plan, Stage

Figures: TypeAlias = Mapping[str, float]
"""What one case gave, by the heading of its column."""
Case: TypeAlias = Callable[[Stage], Awaitable[Figures]]


STUCK = 600.0
"""Seconds after which a case is given up."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Cases to run in turn. `ratios`: a column more, of a figure to that of another case, by name, in the same run."""

    title: str
    cases: Mapping[str, Case]
    ratios: Mapping[str, tuple[str, Callable[[str], str]]] = field(default_factory=dict)


class Found(NamedTuple):
    """The figures of every run, by case, and how much of the machine others used meanwhile, in percent."""

    cases: Mapping[str, Sequence[Figures]]
    others: float


def run(measurement: Measurement, *, stage: Stage, plan: Plan) -> Found:
    """All cases in turn, as often as planned."""
    neighbours = Neighbours()
    cases = {name: case for name, case in measurement.cases.items() if plan.wants(name)}
    found: dict[str, list[Figures]] = {name: [] for name in cases}
    for number in range(plan.runs):
        for name, case in cases.items():
            print(f"run {number + 1} of {plan.runs}: {name}", file=sys.stderr, flush=True)
            gc.collect()
            try:
                found[name].append(uvloop.run(measured(case, stage)))
            except Exception:  # one server that cannot bear it must not end the whole evening
                traceback.print_exc()
                found[name].append({})
    compared = {name: with_ratios(measurement, found, name=name) for name in found}
    return Found(compared, neighbours.percent())


async def measured(case: Case, stage: Stage) -> Figures:
    """One case once, without a pause of the load's own."""
    gc.disable()
    try:
        async with asyncio.timeout(STUCK):
            return await case(stage)
    finally:
        gc.enable()


def with_ratios(measurement: Measurement, found: Mapping[str, list[Figures]], *, name: str) -> list[Figures]:
    """The figures of a case, with those of its columns that compare it, run by run."""
    told = [dict(figures) for figures in found[name]]
    for heading, (figure, other) in measurement.ratios.items():
        for mine, others in zip(told, found.get(other(name), []), strict=False):
            if figure in mine and figure in others:
                mine[heading] = mine[figure] / others[figure]
    return list(told)


def report(measurement: Measurement, found: Found, *, name: str, plan: Plan) -> str:
    """What is printed, as Markdown."""
    how = f"`python -m bench {name} --runs {plan.runs}`{': median (least-most)' if plan.runs > 1 else ''}."
    noise = f"Other processes used {found.others:.0f} % of the machine meanwhile."
    return f"### {measurement.title}\n\n{table(found.cases)}\n\n{how} {noise}\n"


def table(found: Mapping[str, Sequence[Figures]]) -> str:
    """A row per case; of each figure the median, and least and most if there were several runs."""
    headings = list(dict.fromkeys(heading for runs in found.values() for figures in runs for heading in figures))
    lines = [["", *headings], ["---"] * (1 + len(headings))]
    for name, runs in found.items():
        columns = ([figures[heading] for figures in runs if heading in figures] for heading in headings)
        lines.append([name, *map(spread, columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """The median, with least and most if they look different."""
    if not values:
        return ""
    least, middle, most = map(shown, (min(values), median(values), max(values)))
    return middle if least == most else f"{middle} ({least}-{most})"


def shown(value: float) -> str:
    """With two or three significant digits; what is whole, whole."""
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
