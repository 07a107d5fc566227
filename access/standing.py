"""How an account stands: what is left of the requests of a minute and of the tokens of a day, and what was used.

What is told may be old when it is heard: others ask at the same time. What decides is `access/limits.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import NamedTuple

from django.db.models import Count, Sum

from access.holds import spending
from access.limits import MINUTE, Counted, Limits, Payer, counted, limits_of, midnight_after, seconds_until, today
from access.models import ApiKey, Spending
from history.models import Turn


class Left(NamedTuple):
    """What is left of a limit, and after how many seconds all of it is there again."""

    limit: int
    remaining: int
    reset: int


class Standing(NamedTuple):
    """What is left of whichever limit is nearest, the user's or the key's; None where there is none."""

    requests: Left | None = None
    tokens: Left | None = None


def standing(payer: Payer) -> Standing:
    """How a user, and the key that was used, stand now. Nothing is asked for what has no limit."""
    limits = limits_of(payer)
    return Standing(_nearest(_requests_left(payer, limits)), _nearest(_tokens_left(payer, limits)))


class Used(NamedTuple):
    """What turns have used, whether there are limits or not."""

    turns: int
    tokens: int
    cost: Decimal


def used_today(key: ApiKey) -> Used:
    """By the turns that were asked for with a key since midnight UTC: a sum over the log."""
    midnight = datetime.combine(today(), time(), UTC)
    turns = Turn.objects.filter(owner_id=key.owner_id, key_id=key.pk, created_at__gte=midnight, origin=Turn.Origin.LIVE)
    tokens = Sum("prompt_tokens") + Sum("completion_tokens")
    found = turns.aggregate(turns=Count("pk"), tokens=tokens, cost=Sum("cost"))
    return Used(found["turns"], found["tokens"] or 0, found["cost"] or Decimal(0))


def _requests_left(payer: Payer, limits: tuple[Limits, ...]) -> Iterable[Left]:
    if all(each.per_minute is None for each in limits):
        return
    recent = [turn for turn in counted(payer, limits) if turn.recent is not None]
    for each in limits:
        if each.per_minute is not None:
            mine = each.those_of(recent)
            yield Left(each.per_minute, max(0, each.per_minute - len(mine)), _until_none(mine))


def _tokens_left(payer: Payer, limits: tuple[Limits, ...]) -> Iterable[Left]:
    told = [each for each in limits if each.tokens is not None]
    if not told:
        return
    day = today()
    spent = {row.key_id: row for row in spending(payer.owner_id, [each.account for each in told], day=day)}
    reset = seconds_until(midnight_after(day))
    for each in told:
        used = spent.get(each.account) or Spending()
        limit = each.tokens or 0
        yield Left(limit, max(0, limit - used.tokens - used.tokens_held), reset)


def _until_none(turns: list[Counted]) -> int:
    """Seconds until the newest of them does not count any more."""
    newest = turns[0].recent if turns else None
    return 0 if newest is None else seconds_until(newest + MINUTE)


def _nearest(left: Iterable[Left]) -> Left | None:
    return min(left, key=lambda each: each.remaining, default=None)
