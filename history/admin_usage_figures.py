"""Usage in figures for people: as cells of a table, and as what the charts draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from history.models import Status
from history.usage import Outside, Tally

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
COLUMNS = ("Turns", "Cancelled", "Failed", "Prompt", "Completion", "Cost", *SHARES)
NONE = "-"
SECOND, MINUTE = 1_000, 60_000
"""In milliseconds."""


class Cell(NamedTuple):
    """A number, and what has to be said of it."""

    text: str
    note: str = ""


def tally_cells(tally: Tally) -> list[Cell]:
    """One cell per column."""
    return [
        Cell(f"{tally.turns:,}"),
        Cell(f"{tally.of(Status.CANCELLED):,}"),
        Cell(f"{tally.of(Status.FAILED):,}", percent(tally.failed_share)),
        *_used(tally),
        *(Cell(duration(tally.latency(share))) for share in SHARES.values()),
    ]


def outside_cells(outside: Outside) -> list[Cell]:
    """The same for what is of no turn, and so has no status and no latency."""
    return [*[Cell(NONE)] * 3, *_used(outside), *[Cell(NONE)] * len(SHARES)]


def summary(total: Tally) -> list[tuple[str, Cell]]:
    """What is worth a large number, by its name."""
    over = ", ".join(f"{total.of(status):,} {status}" for status in (Status.COMPLETED, Status.CANCELLED, Status.FAILED))
    tokens = f"{total.prompt:,} prompt ({total.cached:,} cached), {total.completion:,} completion"
    times = ", ".join(f"{duration(total.latency(SHARES[name]))} {name}" for name in ("p95", "p99"))
    return [
        ("Turns", Cell(f"{total.turns:,}", f"{over}, {total.active:,} in progress")),
        ("Failed", Cell(percent(total.failed_share) or NONE, "of the turns that are over")),
        ("Tokens", Cell(f"{total.prompt + total.completion:,}", f"{tokens} ({total.reasoning:,} reasoning)")),
        ("Cost", _cost(total)),
        ("Answer time (p50)", Cell(duration(total.latency(SHARES["p50"])), times)),
    ]


def charts(days: Mapping[date, Tally]) -> dict[str, Any]:
    """The days and, for each chart, its series, with a value per day; null where there is none. Bars of one day are
    drawn over each other: the later are a part of the first. Colours are variables of the admin's style sheet."""
    tallies = days.values()
    drawn = [
        _chart(
            "Turns",
            _series("All", "--button-bg", (tally.turns for tally in tallies)),
            _series("Failed", "--error-fg", (tally.of(Status.FAILED) for tally in tallies)),
        ),
        _chart(
            "Tokens",
            _series("All", "--button-bg", (tally.prompt + tally.completion for tally in tallies)),
            _series("Completion", "--accent", (tally.completion for tally in tallies)),
        ),
        _chart("Cost", _series("Cost", "--button-bg", (_number(tally.cost) for tally in tallies)), unit="dollars"),
        _chart(
            "Answer time",
            *(
                _series(name, color, (_seconds(tally.latency(SHARES[name])) for tally in tallies))
                for name, color in zip(SHARES, ("--link-fg", "--body-quiet-color", "--error-fg"), strict=True)
            ),
            form="lines",
            unit="seconds",
        ),
    ]
    return {"days": [day.isoformat() for day in days], "charts": drawn}


def dollars(cost: Decimal) -> str:
    """US dollars: to the cent, or with two digits that say something."""
    if cost >= 1 or not cost:
        return f"${cost:,.2f}"
    return f"${cost:.{max(2, 1 - cost.adjusted())}f}"


def duration(milliseconds: float | None) -> str:
    """A length of time, with as many digits as are known."""
    if milliseconds is None:
        return NONE
    if milliseconds < SECOND:
        return f"{milliseconds:.0f} ms"
    if milliseconds < MINUTE:
        return f"{milliseconds / SECOND:.1f} s"
    return f"{milliseconds / MINUTE:,.1f} min"


def percent(share: float | None) -> str:
    """A share; nothing for None."""
    return "" if share is None else f"{share:.1%}"


def _used(used: Tally | Outside) -> list[Cell]:
    return [
        Cell(f"{used.prompt:,}", f"{used.cached:,} cached" if used.cached else ""),
        Cell(f"{used.completion:,}", f"{used.reasoning:,} reasoning" if used.reasoning else ""),
        _cost(used),
    ]


def _cost(used: Tally | Outside) -> Cell:
    if used.cost is None:
        return Cell("unknown" if used.unpriced else NONE)
    return Cell(dollars(used.cost), f"+ {used.unpriced:,} unknown" if used.unpriced else "")


def _chart(title: str, *series: dict[str, Any], form: str = "bars", unit: str = "count") -> dict[str, Any]:
    return {"title": title, "form": form, "unit": unit, "series": series}


def _series(name: str, color: str, values: Iterable[float | None]) -> dict[str, Any]:
    return {"name": name, "color": color, "values": list(values)}


def _number(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds / SECOND, 3)
