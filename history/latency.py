"""How long turns took, as a histogram that the database counts: percentiles without reading a row per turn.

Buckets grow by a constant factor, so one is as exact about a tenth of a second as about ten minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

from django.db.models import Case, Expression, FloatField, Func, IntegerField, When
from django.db.models.functions import Cast, Floor, Greatest, Least, Ln

from history.models import Status

PER_DOUBLING = 8
"""Buckets from one length of time to twice that: each is 9 % wide."""
LONGEST = 86_400_000.0
"""In milliseconds. Whatever took longer counts as this long, so that there are 212 buckets at most."""


class Milliseconds(Func):
    """From the second of two times to the first. SQLite's own function is many times as fast as Django's in Python."""

    arity = 2
    arg_joiner = " - "
    template = "(EXTRACT(EPOCH FROM (%(expressions)s))::float8 * 1000.0)"
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday(%(expressions)s)) * 86400000.0)"
        return self.as_sql(compiler, connection, template=template, arg_joiner=") - julianday(", **context)


def bucket() -> Expression:
    """In which bucket a turn is: the number of the longest whole step that its answer took, from the question to the
    last word; null for one that was not completed."""
    took = Least(Greatest(Milliseconds("ended_at", "created_at"), 1.0), LONGEST)
    number = Cast(Floor(Ln(took) * (PER_DOUBLING / log(2))), IntegerField())
    return Case(When(status=Status.COMPLETED, ended_at__isnull=False, then=number), default=None)


def percentile(share: float, buckets: Mapping[int, int]) -> float | None:
    """The milliseconds within which that share of the turns was answered, as near as a bucket is wide; None of none."""
    rank = share * sum(buckets.values())
    below = 0
    for number, turns in sorted(buckets.items()):
        if below + turns >= rank:
            return float(2 ** ((number + (rank - below) / turns) / PER_DOUBLING))
        below += turns
    return None
