"""What model calls hold of a day's limits: granted by one statement, counted once, and never left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import override_settings

from access import holds, limits
from access.errors import QuotaExceeded
from access.holds import Amount, settle_lost
from access.limits import Payer, admit
from access.models import Hold, Spending
from access.principals import Principal
from history import conversations
from history.models import DeltaBatch, Turn

KEY = 7


@contextmanager
def limited(**chat: Any) -> Iterator[None]:
    with override_settings(CHAT={name.upper(): value for name, value in chat.items()}):
        yield


def running(user: User) -> Turn:
    """A turn of theirs in its first attempt."""
    conversation = conversations.create(user.pk)
    return Turn.objects.create(conversation=conversation, owner_id=user.pk, status="running", attempt=1)


def a_hold(turn: Turn, *, key_id: int | None = None, tokens: int, cost: str = "0", prompt: int = 0) -> Hold:
    """For a call of this turn, whose prompt costs a tenth of all."""
    most, least = Amount(tokens, Decimal(cost)), Amount(prompt, Decimal(cost) / 10)
    payer = Payer(turn.owner_id, key_id)
    accounts = limits.accounts_by_day(payer)
    return limits.hold_for(payer, accounts, turn_id=turn.pk, attempt=turn.attempt, most=most, prompt=least)


def reserve(turn: Turn, *, key_id: int | None = None, **amounts: Any) -> Hold:
    hold = a_hold(turn, key_id=key_id, **amounts)
    limits.reserve(Payer(turn.owner_id, key_id), hold)
    return hold


def settle(hold: Hold, *, tokens: int, cost: Decimal | str = "0") -> None:
    holds.settle(hold, used=Amount(tokens, Decimal(cost)))


@pytest.fixture
def turn(user: User) -> Turn:
    return running(user)


def spend(user: User, *, key_id: int = 0, day: date | None = None, **amounts: Any) -> None:
    """Note that so much was used, and so much is held."""
    Spending.objects.create(owner=user, key_id=key_id, day=day or datetime.now(UTC).date(), **amounts)


def rows() -> list[tuple[Any, ...]]:
    """What is noted: account, tokens, tokens held, cost, cost held."""
    found = Spending.objects.order_by("key_id")
    return list(found.values_list("key_id", "tokens", "tokens_held", "cost", "cost_held"))


def test_a_call_holds_the_most_it_may_use_and_what_it_used_takes_the_place_of_that(turn: Turn) -> None:
    with limited(tokens_per_day_per_user=100, cost_per_day_per_key="1"):
        hold = reserve(turn, key_id=KEY, tokens=80, cost="0.3")
        while_it_runs = rows()
        settle(hold, tokens=30, cost="0.00000001")

    assert while_it_runs == [(0, 0, 80, 0, Decimal("0.3")), (KEY, 0, 80, 0, Decimal("0.3"))]
    assert rows() == [(0, 30, 0, Decimal("0.00000001"), 0), (KEY, 30, 0, Decimal("0.00000001"), 0)]


def test_a_call_is_let_through_while_anything_is_left(turn: Turn) -> None:
    with limited(tokens_per_day_per_user=100):
        first = reserve(turn, tokens=99)
        second = reserve(turn, tokens=500)
        with pytest.raises(QuotaExceeded):
            reserve(turn, tokens=1)
        settle(second, tokens=0)
        settle(first, tokens=99)
        reserve(turn, tokens=1)
        with pytest.raises(QuotaExceeded):
            reserve(turn, tokens=1)

    assert rows() == [(0, 99, 1, 0, 0)]


def test_cost_is_counted_to_the_last_of_eight_places(turn: Turn) -> None:
    tenth = "0.10000001"
    with limited(cost_per_day_per_user="0.30000003"):
        for _ in range(3):
            settle(reserve(turn, tokens=1, cost=tenth), tokens=1, cost=tenth)
        with pytest.raises(QuotaExceeded):
            reserve(turn, tokens=1, cost=tenth)

    assert rows() == [(0, 3, 0, Decimal("0.30000003"), 0)]


def test_where_the_key_has_nothing_left_nothing_is_held_of_the_user(user: User, turn: Turn) -> None:
    spend(user, key_id=KEY, tokens=10)

    with limited(tokens_per_day_per_user=100, tokens_per_day_per_key=10), pytest.raises(QuotaExceeded):
        reserve(turn, key_id=KEY, tokens=1)

    assert rows() == [(KEY, 10, 0, 0, 0)]


def test_a_new_day_begins_anew_and_what_ends_after_midnight_counts_for_the_day_it_began(user: User, turn: Turn) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    spend(user, day=yesterday, tokens=100, tokens_held=50)

    with limited(tokens_per_day_per_user=100):
        before = a_hold(turn, tokens=50)
        before.day = yesterday
        before.save()
        admit(Principal(user_id=user.pk))
        reserve(turn, tokens=20)
        settle(before, tokens=40)

    assert [(row.tokens, row.tokens_held) for row in Spending.objects.order_by("day")] == [(140, 0), (0, 20)]


@pytest.mark.django_db(transaction=True)
def test_however_many_reserve_at_once_only_what_is_left_is_given() -> None:
    """S5. Every grant but the last is within the limit."""
    turn = running(User.objects.create_user("ada"))

    def grab(_: int) -> bool:
        try:
            reserve(turn, tokens=10)
        except QuotaExceeded:
            return False
        finally:
            connections.close_all()
        return True

    with (
        override_settings(CHAT={"TOKENS_PER_DAY_PER_USER": 95}),
        pytest.MonkeyPatch.context() as patient,
        ThreadPoolExecutor(8) as threads,
    ):
        patient.setattr(limits, "LOCK_TIMEOUT", 20)
        granted = list(threads.map(grab, range(40)))

    assert granted.count(True) == 10
    assert rows() == [(0, 0, 100, 0, 0)]


def test_what_is_asked_again_because_its_commit_was_not_heard_of_counts_once(turn: Turn) -> None:
    """Also where the call itself has taken the last that was left."""
    with limited(tokens_per_day_per_user=100, cost_per_day_per_user="9"):
        hold = a_hold(turn, tokens=900, cost="1")
        for _ in range(2):
            limits.reserve(Payer(turn.owner_id), hold)
        while_it_runs = rows()
        for _ in range(2):
            settle(hold, tokens=80, cost="0.5")

    assert while_it_runs == [(0, 0, 900, 0, 1)]
    assert rows() == [(0, 80, 0, Decimal("0.5"), 0)]
    assert not Hold.objects.exists()


def left_text(turn: Turn, text: str, *, attempt: int = 1) -> None:
    DeltaBatch.objects.create(turn_id=turn.pk, attempt=attempt, hop=0, start=0, text=text, runs=[["text", len(text)]])


def test_of_a_lost_call_its_prompt_counts_and_what_is_stored_of_its_reply_and_nothing_stays_held(turn: Turn) -> None:
    left_text(turn, "x" * 160)
    with limited(tokens_per_day_per_user=100, cost_per_day_per_key="9"):
        reserve(turn, key_id=KEY, tokens=410, prompt=10, cost="1")
        for _ in range(2):
            settle_lost(turn.pk, attempt=1)
        reserve(turn, tokens=5)

    assert rows() == [(0, 50, 5, Decimal("0.19"), 0), (KEY, 50, 0, Decimal("0.19"), 0)]


def test_a_lost_call_counts_no_more_than_it_had_held(turn: Turn) -> None:
    left_text(turn, "x" * 4_000)
    with limited(tokens_per_day_per_user=100):
        reserve(turn, tokens=30, prompt=10, cost="1")
        settle_lost(turn.pk, attempt=1)

    assert rows() == [(0, 30, 0, 1, 0)]


def test_what_a_later_attempt_holds_is_left_alone(turn: Turn) -> None:
    with limited(tokens_per_day_per_user=100):
        reserve(turn, tokens=30, prompt=10)
        turn.attempt = 2
        reserve(turn, tokens=40, prompt=10)
        settle_lost(turn.pk, attempt=1)

    assert rows() == [(0, 10, 40, 0, 0)]


def test_a_process_that_was_only_away_makes_good_for_what_was_counted_meanwhile(turn: Turn) -> None:
    left_text(turn, "x" * 160)
    with limited(tokens_per_day_per_user=100):
        hold = reserve(turn, tokens=410, prompt=10, cost="1")
        settle_lost(turn.pk, attempt=1)
        for _ in range(2):
            settle(hold, tokens=77, cost="0.5")

    assert rows() == [(0, 77, 0, Decimal("0.5"), 0)]


def is_over(turn: Turn) -> None:
    Turn.objects.filter(pk=turn.pk).update(status="failed")


def goes_on_elsewhere(turn: Turn) -> None:
    Turn.objects.filter(pk=turn.pk).update(attempt=2)


def is_deleted(turn: Turn) -> None:
    turn.delete()


def asks_for_a_turn(turn: Turn) -> None:
    admit(Principal(user_id=turn.owner_id))


def asks_a_model(turn: Turn) -> None:
    reserve(turn, tokens=9)


@pytest.mark.parametrize("happens", [is_over, goes_on_elsewhere, is_deleted])
@pytest.mark.parametrize("asks", [asks_for_a_turn, asks_a_model])
def test_nobody_is_refused_for_what_is_held_of_a_turn_on_which_nobody_works(
    user: User, turn: Turn, happens: Callable[[Turn], None], asks: Callable[[Turn], None]
) -> None:
    """However that came about: nobody waits until midnight."""
    with limited(tokens_per_day_per_user=100):
        reserve(turn, tokens=500, prompt=10)
        happens(turn)
        asks(running(user))

    assert Spending.objects.get().tokens == 10


def test_what_was_lost_is_forgotten_after_some_days(turn: Turn) -> None:
    with limited(tokens_per_day_per_user=100):
        old = reserve(turn, tokens=5)
        Hold.objects.filter(pk=old.pk).update(day=old.day - timedelta(days=3))
        new = reserve(turn, tokens=5)
        settle_lost(turn.pk, attempt=1)

    assert list(Hold.objects.values_list("pk", "is_lost")) == [(new.pk, True)]
