"""The usage page of the admin: what is asked of it, and what it shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.utils import timezone

from history import usage
from history.admin_usage_figures import COLUMNS, Cell, charts, outside_cells, summary, tally_cells
from history.conf import chat_settings
from history.usage import By, Outside, Period, Tally

RANGES = (7, 30, 90)
"""Days to choose from."""
DAYS = 30
LONGEST_NAME = 200


class Question(NamedTuple):
    """The last so many days, grouped by that, of the turns that are of all that was picked."""

    days: int = DAYS
    by: By = By.MODEL
    picked: Mapping[By, str] = MappingProxyType({})

    @property
    def address(self) -> str:
        """The query string in which it is asked."""
        return "?" + urlencode([("days", self.days), ("by", self.by), *self.picked.items()])

    def picking(self, name: str) -> Question:
        """Only that one of the groups."""
        return self._replace(picked={**self.picked, self.by: name})

    def without(self, by: By) -> Question:
        """Whatever the model, the user or the profile."""
        return self._replace(picked={other: name for other, name in self.picked.items() if other is not by})


class Choice(NamedTuple):
    """A link to another question; `is_made`: to this one."""

    label: str
    address: str
    is_made: bool = False


class Line(NamedTuple):
    """A row of a table. `address` asks about it alone, if that can be asked."""

    label: str
    cells: list[Cell]
    address: str = ""


def understood(query: Mapping[str, str]) -> tuple[Question, list[str]]:
    """What is asked, and the names of what makes no sense, for which the question has its defaults."""
    given = {name: value for name, value in query.items() if value}
    choices: dict[str, Collection[str]] = {"days": [str(days) for days in RANGES], "by": list(By)}
    wrong = [name for name, allowed in choices.items() if name in given and given[name] not in allowed]
    wrong += [by for by in By if by in given and ("\0" in given[by] or len(given[by]) > LONGEST_NAME)]
    good = {name: value for name, value in given.items() if name not in wrong}
    question = Question(
        days=int(good.get("days", DAYS)),
        by=By(good.get("by", By.MODEL)),
        picked={by: good[by] for by in By if by in good},
    )
    return question, wrong


def page(query: Mapping[str, str]) -> dict[str, Any]:
    """What the template shows for a query string. Five statements at most, however many turns."""
    question, wrong = understood(query)
    zone = timezone.get_default_timezone()
    period = Period.until(timezone.localdate(timezone=zone), days=question.days, zone=zone)
    turns = usage.turns_of(period, question.picked)
    days = usage.by_day(turns, period)
    total = Tally([part for tally in days.values() for part in tally.parts])
    outside = usage.outside(period, question.picked)
    return {
        "wrong": wrong,
        "zone": zone,
        "question": question,
        "choices_of": (
            [_choice(f"{length} days", question, question._replace(days=length)) for length in RANGES],
            [_choice(f"by {by}", question, question._replace(by=by)) for by in By],
        ),
        "picked": [Choice(f"{by}: {name}", question.without(by).address) for by, name in question.picked.items()],
        "columns": COLUMNS,
        "tally": total,
        "outside": outside,
        "summary": summary(total),
        "groups": list(_group_lines(question, usage.by_group(turns, question.by) if total.turns else ())),
        "totals": list(_total_lines(total, outside)),
        "days": [Line(day.isoformat(), tally_cells(tally)) for day, tally in reversed(days.items())],
        "charts": charts(days) if total.turns else None,
        "logs_are_off": chat_settings().completion_logs == "off",
        "most": usage.MOST,
    }


def _choice(label: str, asked: Question, other: Question) -> Choice:
    return Choice(label, other.address, is_made=other == asked)


def _group_lines(question: Question, groups: Iterable[tuple[str | None, Tally]]) -> Iterable[Line]:
    for name, tally in groups:
        if name:
            yield Line(name, tally_cells(tally), question.picking(name).address)
        else:
            yield Line("(none)" if name == "" else "All others", tally_cells(tally))


def _total_lines(total: Tally, outside: Outside | None) -> Iterable[Line]:
    yield Line("Total", tally_cells(total))
    if outside is not None and outside.calls:
        calls = "1 call" if outside.calls == 1 else f"{outside.calls:,} calls"
        yield Line(f"Outside turns ({calls})", outside_cells(outside))
