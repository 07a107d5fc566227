"""What turns have used: sums that are those of the log, by days and groups, and times as near as is said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from history import compaction, latency, titles, usage
from history.calls import Call
from history.events import Kind, TurnEnded, TurnError
from history.models import Conversation, Event, Status, Turn
from history.usage import TOKENS, By, Period
from llm.types import Usage
from tests.history.stage import claimed, new_conversation, new_turn

pytestmark = pytest.mark.django_db

USED = Usage(prompt=1_000, completion=200, cached=300, reasoning=50)
CENT = Decimal("0.0123")


def call(model: str, *, used: Usage = USED, cost: Decimal | None = CENT, **fields: Any) -> Call:
    """A call of a model that is over."""
    return Call(
        **{"model": model, "context_window": 100, "outcome": "completed", "usage": used, "cost": cost, **fields}
    )


def ask(
    user: User, *, status: Any = "completed", used: Usage = USED, cost: Decimal | None = CENT, **fields: Any
) -> Turn:
    """A turn that was run and has ended like that."""
    turn = new_turn(new_conversation(user), **{"model": "small", "profile": "fast", **fields})
    error = TurnError(code="stalled", message="It said nothing.") if status == "failed" else None
    made = call(turn.model, used=used, cost=cost)
    compaction.end_turn(claimed(turn), message=None, ended=TurnEnded(status=status, error=error), call=made)
    return turn


def name(user: User, *, cost: Decimal | None = CENT, model: str = "small") -> None:
    """A model is asked for a title."""
    conversation = Conversation.objects.create(owner=user, titling_since=timezone.now())
    made = call(model, cost=cost, usage_id=titles.TITLE)
    titles.settle(conversation.pk, call=made, before="", title="A title")


def lately(days: int = 7) -> Period:
    """The last days, today among them."""
    return Period.until(timezone.now().date(), days=days, zone=UTC)


def logged(kind: Kind, **filters: Any) -> dict[str, Any]:
    """Tokens and cost of all events of that kind."""
    told = [event.data for event in Event.objects.filter(kind=kind, **filters)]
    costs = [Decimal(data["cost"]) for data in told if data["cost"] is not None]
    tokens = {each: sum((data["usage"] or {}).get(each, 0) for data in told) for each in TOKENS}
    return {"number": len(told), "cost": sum(costs), **tokens}


def summed(*tallies: Any) -> dict[str, Any]:
    """The same of what is told in sums."""
    tokens = {each: sum(getattr(tally, each) for tally in tallies) for each in TOKENS}
    number = sum(getattr(tally, "calls", None) or tally.turns for tally in tallies)
    return {"number": number, "cost": sum(tally.cost or 0 for tally in tallies), **tokens}


@pytest.fixture
def asked(user: User, other_user: User) -> None:
    """Turns of two users, three models and two profiles that ended in all ways; one has no price."""
    ask(user)
    ask(user, model="large", used=Usage(prompt=7, completion=3), cost=Decimal("1.00000001"))
    ask(user, status="cancelled", profile="slow", used=Usage(prompt=11))
    ask(other_user, status="failed", used=Usage(), cost=None)
    ask(other_user, model="mine", cost=None)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("by", By)
def test_sums_are_those_of_the_log(by: By) -> None:
    turns = usage.turns_of(lately(), {})

    days = usage.by_day(turns, lately())
    groups = usage.by_group(turns, by)

    assert summed(*days.values()) == logged(Kind.TURN_ENDED)
    assert summed(*(tally for _, tally in groups)) == logged(Kind.TURN_ENDED)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("by", "sizes"),
    [
        (By.MODEL, [("small", 3), ("large", 1), ("mine", 1)]),
        (By.USER, [("ada", 3), ("bob", 2)]),
        (By.PROFILE, [("fast", 4), ("slow", 1)]),
    ],
)
def test_the_largest_group_is_first(by: By, sizes: list[tuple[str, int]]) -> None:
    groups = usage.by_group(usage.turns_of(lately(), {}), by)

    assert [(name, tally.turns) for name, tally in groups] == sizes


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("picked", "count"),
    [
        ({By.MODEL: "small"}, 3),
        ({By.USER: "bob"}, 2),
        ({By.PROFILE: "slow"}, 1),
        ({By.MODEL: "small", By.USER: "bob"}, 1),
        ({By.USER: "nobody"}, 0),
    ],
)
def test_only_what_is_picked_is_counted(picked: Mapping[By, str], count: int) -> None:
    days = usage.by_day(usage.turns_of(lately(), picked), lately())

    assert sum(tally.turns for tally in days.values()) == count


@pytest.mark.usefixtures("asked")
def test_turns_that_are_not_over_and_prices_that_nobody_knows_are_told(user: User) -> None:
    new_turn(new_conversation(user), model="small")

    tally = usage.by_day(usage.turns_of(lately(), {}), lately())[timezone.now().date()]

    assert (tally.turns, tally.active, tally.of(Status.FAILED), tally.failed_share) == (6, 1, 1, 0.2)
    assert (tally.cost, tally.unpriced) == (Decimal("1.02460001"), 1)


def test_of_turns_without_a_price_no_cost_is_known(user: User) -> None:
    ask(user, cost=None)

    [(_, tally)] = usage.by_group(usage.turns_of(lately(), {}), By.MODEL)

    assert (tally.cost, tally.unpriced) == (None, 1)


def test_what_was_said_elsewhere_is_not_counted(user: User) -> None:
    ask(user)
    new_turn(new_conversation(user), origin=Turn.Origin.IMPORTED, status=Status.COMPLETED)

    turns = usage.turns_of(lately(), {})
    assert sum(tally.turns for tally in usage.by_day(turns, lately()).values()) == 1
    assert [tally.turns for _, tally in usage.by_group(turns, By.MODEL)] == [1]


def test_calls_of_no_turn_are_those_of_the_log(user: User, other_user: User) -> None:
    ask(user)
    name(user)
    name(other_user, model="large", cost=Decimal("0.5"))
    name(other_user, model="mine", cost=None)

    told = usage.outside(lately(), {})
    of_bob = usage.outside(lately(), {By.USER: "bob"})
    of_large = usage.outside(lately(), {By.MODEL: "large"})

    assert told is not None
    assert of_bob is not None
    assert of_large is not None
    assert summed(told) == logged(Kind.COMPLETION_LOG, turn=None)
    assert (told.calls, told.unpriced, of_bob.calls, of_large.cost) == (3, 1, 2, Decimal("0.5"))
    assert usage.outside(lately(), {By.PROFILE: "fast"}) is None


def test_without_calls_nothing_is_told_of_them(db: None) -> None:
    assert usage.outside(lately(), {}) == (0, 0, None, 0, 0, 0, 0)


def test_all_groups_but_the_largest_are_one(user: User) -> None:
    several = [f"model-{number:02}" for number in range(usage.MOST) for _ in range(2)]
    conversation = new_conversation(user)
    Turn.objects.bulk_create(
        Turn(conversation=conversation, owner=user, status=Status.FAILED, model=model)
        for model in [*several, "rare-1", "rare-2", "rare-3"]
    )

    groups = usage.by_group(usage.turns_of(lately(), {}), By.MODEL)

    assert [name for name, _ in groups] == [*dict.fromkeys(several), None]
    assert groups[-1][1].turns == 3


def test_a_day_is_one_of_the_time_zone_however_long_it_is(user: User) -> None:
    """The fifth of April has 25 hours in Auckland."""
    zone = ZoneInfo("Pacific/Auckland")
    period = Period.until(date(2026, 4, 6), days=3, zone=zone)
    begins = datetime(2026, 4, 4, 11, tzinfo=UTC)
    hours = {-24: "2026-04-04", -0.001: "2026-04-04", 0: "2026-04-05", 24.9: "2026-04-05", 25: "2026-04-06"}
    for after in (-24.1, *hours, 49):
        at = begins + timedelta(hours=after)
        Turn.objects.create(conversation=new_conversation(user), owner=user, status=Status.FAILED, created_at=at)

    days = usage.by_day(usage.turns_of(period, {}), period)

    counted = {day.isoformat(): tally.turns for day, tally in days.items()}
    assert counted == {day: list(hours.values()).count(day) for day in counted}


@pytest.mark.parametrize("days", [1, 2, 7, 30, 90])
def test_every_day_has_its_own_turns(user: User, days: int) -> None:
    period = lately(days)
    conversation = new_conversation(user)
    Turn.objects.bulk_create(
        Turn(conversation=conversation, owner=user, status=Status.FAILED, created_at=at)
        for number, at in enumerate(period.starts[:-1])
        for _ in range(1 + number % 2)
    )

    found = usage.by_day(usage.turns_of(period, {}), period)

    assert [(day, tally.turns) for day, tally in found.items()] == [
        (day, 1 + number % 2) for number, day in enumerate(period.days)
    ]


def test_percentiles_are_as_near_as_a_step_is_wide(user: User) -> None:
    chance = Random(1)
    conversation, now = new_conversation(user), timezone.now()
    took = sorted(chance.lognormvariate(8, 1.2) for _ in range(200))
    Turn.objects.bulk_create(
        Turn(
            conversation=conversation,
            owner=user,
            status=Status.COMPLETED,
            created_at=now,
            ended_at=now + timedelta(milliseconds=each),
        )
        for each in took
    )

    [(_, tally)] = usage.by_group(usage.turns_of(lately(), {}), By.USER)

    for share in (0.5, 0.95, 0.99):
        assert tally.latency(share) == pytest.approx(took[int(share * len(took)) - 1], rel=0.1)


@pytest.mark.parametrize(
    ("status", "took", "told"),
    [
        (Status.COMPLETED, timedelta(seconds=-3), 1.0),
        (Status.COMPLETED, timedelta(0), 1.0),
        (Status.COMPLETED, timedelta(days=400), latency.LONGEST),
        (Status.CANCELLED, timedelta(seconds=3), None),
        (Status.FAILED, timedelta(seconds=3), None),
    ],
)
def test_times_are_bounded_and_only_those_of_answers(user: User, status: Status, took: timedelta, told: Any) -> None:
    now = timezone.now()
    Turn.objects.create(
        conversation=new_conversation(user), owner=user, status=status, created_at=now, ended_at=now + took
    )

    [(_, tally)] = usage.by_group(usage.turns_of(lately(), {}), By.USER)

    assert tally.latency(0.5) == (None if told is None else pytest.approx(told, rel=0.1))
