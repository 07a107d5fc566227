"""What turns have used, by day and by model, user or profile: sums that the database makes, so that what is read is
bounded by days and groups, not by turns.

Turns that were said elsewhere and imported used nothing here and are not counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import (
    Aggregate,
    Case,
    Count,
    DecimalField,
    Expression,
    F,
    IntegerField,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, NullIf

from history import latency
from history.events import Kind
from history.models import ACTIVE, Event, Status, Turn

MOST = 50
"""Groups that are told one by one, those with most turns; all others are one."""


class By(StrEnum):
    """What turns are grouped by."""

    MODEL = "model"
    USER = "user"
    PROFILE = "profile"


FIELDS = {By.MODEL: "model", By.USER: "owner", By.PROFILE: "profile"}
TOKENS = ("prompt", "completion", "cached", "reasoning")


class Period(NamedTuple):
    """Whole days of a time zone. `starts` has one time more than there are days: the end of the last one."""

    days: Sequence[date]
    starts: Sequence[datetime]

    @classmethod
    def until(cls, last: date, *, days: int, zone: tzinfo) -> Period:
        """So many days, of which that is the last."""
        dates = [last - timedelta(days=days - 1 - number) for number in range(days + 1)]
        return cls(dates[:-1], [datetime.combine(each, time(), tzinfo=zone) for each in dates])


class Part(NamedTuple):
    """Turns that have their status in common and, if they were completed, how long they took (see `history.latency`).
    `unpriced` of them have used tokens of which nobody knows what they cost; `cost`, in US dollars, is of the rest."""

    status: str
    bucket: int | None
    turns: int
    unpriced: int
    cost: Decimal | None
    prompt: int
    completion: int
    cached: int
    reasoning: int


@dataclass(frozen=True)
class Tally:
    """What some turns came to."""

    parts: Sequence[Part]

    @property
    def turns(self) -> int:
        """All of them."""
        return self._sum("turns")

    @property
    def active(self) -> int:
        """Those that are not over; what they use is counted when they are."""
        return self.of(*ACTIVE)

    @property
    def failed_share(self) -> float | None:
        """How many failed of those that are over; None if none is."""
        over = self.turns - self.active
        return self.of(Status.FAILED) / over if over else None

    @property
    def prompt(self) -> int:
        """Tokens that models were sent."""
        return self._sum("prompt")

    @property
    def completion(self) -> int:
        """Tokens that they answered."""
        return self._sum("completion")

    @property
    def cached(self) -> int:
        """A part of `prompt`."""
        return self._sum("cached")

    @property
    def reasoning(self) -> int:
        """A part of `completion`."""
        return self._sum("reasoning")

    @property
    def cost(self) -> Decimal | None:
        """US dollars of the turns whose cost is known; None if there are none."""
        known = [part.cost for part in self.parts if part.cost is not None]
        return sum(known, Decimal(0)) if known else None

    @property
    def unpriced(self) -> int:
        """Turns that have used tokens of which nobody knows what they cost."""
        return self._sum("unpriced")

    def of(self, *statuses: str) -> int:
        """Turns that stand there."""
        return sum(part.turns for part in self.parts if part.status in statuses)

    def latency(self, share: float) -> float | None:
        """The milliseconds within which that share of the completed turns was answered, about; None of none."""
        return latency.percentile(share, self._buckets)

    @cached_property
    def _buckets(self) -> Mapping[int, int]:
        buckets: Counter[int] = Counter()
        for part in self.parts:
            if part.bucket is not None:
                buckets[part.bucket] += part.turns
        return buckets

    def _sum(self, name: str) -> int:
        return sum(getattr(part, name) for part in self.parts)


class Outside(NamedTuple):
    """What model calls came to that are of no turn, as those for titles."""

    calls: int
    unpriced: int
    cost: Decimal | None
    prompt: int
    completion: int
    cached: int
    reasoning: int


def turns_of(period: Period, picked: Mapping[By, str]) -> QuerySet[Turn]:
    """The turns that were begun in those days and are of all that was picked: models and profiles by name, users by
    the name with which they sign in. Those that were imported are among them, and left out by who counts."""
    names = {By.MODEL: "model", By.USER: f"owner__{get_user_model().USERNAME_FIELD}", By.PROFILE: "profile"}
    return Turn.objects.filter(**_within("created_at", period)).filter(
        **{names[by]: value for by, value in picked.items()}
    )


def by_day(turns: QuerySet[Turn], period: Period) -> dict[date, Tally]:
    """The tally of each day, also of those without turns."""
    found = _tallies(turns, _day(period.starts))
    return {day: found.get(number, Tally(())) for number, day in enumerate(period.days)}


def by_group(turns: QuerySet[Turn], by: By) -> list[tuple[str | None, Tally]]:
    """Names and tallies of the `MOST` largest groups, the largest first; all others are last and have no name. To
    find the largest, imports count too: so an index alone can tell, if it is by model or user."""
    field = FIELDS[by]
    largest = turns.values(field).annotate(size=Count("*")).order_by("-size", field)[:MOST]
    keys = [row[field] for row in largest]
    told = Case(When(**{f"{field}__in": keys}, then=F(field)), default=None)
    found = _tallies(turns, told)
    names = _usernames(keys) if by is By.USER else {key: key for key in keys}
    listed: list[tuple[str | None, Tally]] = [(names[key], found[key]) for key in keys if key in found and key in names]
    listed.sort(key=lambda group: -group[1].turns)
    return [*listed, (None, found[None])] if None in found else listed


def outside(period: Period, picked: Mapping[By, str]) -> Outside | None:
    """The calls of no turn in those days, by the completion logs; None if a profile is picked, which they do not
    tell."""
    names = {By.MODEL: "model", By.USER: f"conversation__owner__{get_user_model().USERNAME_FIELD}"}
    if By.PROFILE in picked:
        return None
    logs = Event.objects.filter(turn__isnull=True, kind=Kind.COMPLETION_LOG, **_within("at", period))
    logs = logs.filter(**{names[by]: value for by, value in picked.items()})
    used = {f"{name}_tokens": Cast(KT(f"data__usage__{name}"), IntegerField()) for name in TOKENS}
    cost = Cast(NullIf(KT("data__cost"), Value("null")), DecimalField(max_digits=14, decimal_places=8))
    return Outside(*logs.annotate(cost=cost, **used).aggregate(**_sums()).values())


def _within(field: str, period: Period) -> dict[str, datetime]:
    return {f"{field}__gte": period.starts[0], f"{field}__lt": period.starts[-1]}


def _tallies(turns: QuerySet[Turn], key: Expression) -> dict[Any, Tally]:
    """The tally of each value of `key`, in one statement."""
    live = turns.filter(origin=Turn.Origin.LIVE)
    alike = live.annotate(key=key, bucket=latency.bucket()).values_list("key", "status", "bucket")
    rows = alike.annotate(**_sums())
    parts: defaultdict[Any, list[Part]] = defaultdict(list)
    for value, *part in rows:
        parts[value].append(Part(*part))
    return {value: Tally(found) for value, found in parts.items()}


def _sums() -> dict[str, Aggregate]:
    """What `Part` and `Outside` end with, in that order."""
    used = Q(prompt_tokens__gt=0) | Q(completion_tokens__gt=0)
    counts = {"number": Count("*"), "unpriced": Count(Case(When(used, cost=None, then=1))), "sum_cost": Sum("cost")}
    return counts | {name: Sum(f"{name}_tokens", default=0) for name in TOKENS}


def _day(starts: Sequence[datetime]) -> Expression:
    """The number of the day in which a turn was begun, found by halving: seven comparisons for ninety days. A day is
    not always 24 hours long, and SQLite knows nothing of time zones."""

    def among(first: int, last: int) -> Expression:
        if first == last:
            return Value(first)
        middle = (first + last + 1) // 2
        earlier, later = among(first, middle - 1), among(middle, last)
        return Case(When(created_at__lt=starts[middle], then=earlier), default=later)

    return among(0, len(starts) - 2)


def _usernames(keys: Iterable[Any]) -> dict[Any, str]:
    users = get_user_model()._default_manager.filter(pk__in=list(keys))
    return {pk: str(name) for pk, name in users.values_list("pk", get_user_model().USERNAME_FIELD)}
