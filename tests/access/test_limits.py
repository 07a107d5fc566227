"""What one user and one key may ask for: counted in the database, by one statement each that decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from access import limits
from access.errors import RateLimited
from access.limits import Payer, admit
from access.models import Spending
from access.principals import Principal
from history import conversations
from history.models import Status, Turn

KEY = 7


@contextmanager
def limited(**chat: Any) -> Iterator[None]:
    with override_settings(CHAT={name.upper(): value for name, value in chat.items()}):
        yield


def asked(user: User, *, key_id: int | None = None, status: Status = Status.COMPLETED, ago: float = 0) -> None:
    """A turn of theirs that was started so many seconds ago."""
    turn = Turn.objects.create(
        conversation=conversations.create(user.pk), owner_id=user.pk, key_id=key_id, status=status
    )
    if ago:
        Turn.objects.filter(pk=turn.pk).update(created_at=turn_time() - timedelta(seconds=ago))


def turn_time() -> datetime:
    return datetime.now(UTC)


def refused(principal: Principal) -> RateLimited:
    with pytest.raises(RateLimited) as error:
        admit(principal)
    return error.value


def by_session(user: User) -> Principal:
    return Principal(user_id=user.pk)


def by_key(user: User, key_id: int = KEY) -> Principal:
    return Principal(user_id=user.pk, key_id=key_id)


def test_nobody_is_limited_but_in_turns_at_a_time_unless_the_settings_say_so(user: User) -> None:
    for _ in range(50):
        asked(user)
    asked(user, status=Status.RUNNING)

    with CaptureQueriesContext(connection) as queries:
        running = admit(by_key(user))

    assert running == dict(Turn.objects.filter(status="running").values_list("conversation_id", "pk"))
    assert len(queries) == 2
    assert limits.accounts_by_day(Payer(user.pk, KEY)) == ()


def test_a_user_has_so_many_turns_at_a_time_whoever_asks_for_them(user: User, other_user: User) -> None:
    asked(user, status=Status.RUNNING)
    asked(user, status=Status.QUEUED, key_id=KEY)
    asked(other_user, status=Status.RUNNING)

    with limited(max_turns_per_user=3):
        admit(by_session(user))
        asked(user, status=Status.STOPPING)
        error = refused(by_key(user))

    assert error.message == "You have 3 answers in progress, as many as allowed. Wait for one to end."


def test_a_key_has_so_many_turns_at_a_time_and_other_ways_are_still_open(user: User) -> None:
    asked(user, status=Status.RUNNING, key_id=KEY)

    with limited(max_turns_per_key=1):
        admit(by_session(user))
        admit(by_key(user, KEY + 1))
        error = refused(by_key(user))

    assert error.message == "This API key has 1 answer in progress, as many as allowed. Wait for one to end."


def test_what_ended_counts_for_a_minute_and_the_refusal_says_when_to_come_back(user: User, other_user: User) -> None:
    asked(user, ago=61)
    asked(user, ago=40)
    asked(user)
    for _ in range(3):
        asked(other_user)

    with limited(turns_per_minute_per_user=3):
        admit(by_session(user))
        asked(user, key_id=KEY)
        error = refused(by_session(user))

    assert 15 <= error.retry_after <= 21
    assert error.message == (
        f"You have asked 3 times within a minute, as often as allowed. Try again in {error.retry_after} seconds."
    )


def test_a_key_is_counted_by_the_minute_too(user: User) -> None:
    asked(user)
    asked(user, key_id=KEY)
    asked(user, key_id=KEY, ago=59)

    with limited(turns_per_minute_per_key=2):
        admit(by_session(user))
        admit(by_key(user, KEY + 1))
        error = refused(by_key(user))

    assert error.message.startswith("This API key has asked 2 times within a minute")
    assert 1 <= error.retry_after <= 2


def test_a_limit_of_none_at_all_lets_nobody_in(user: User) -> None:
    for name in ("max_turns_per_user", "turns_per_minute_per_user", "tokens_per_day_per_user", "cost_per_day_per_user"):
        with limited(**{name: 0}):
            assert refused(by_session(user)).retry_after >= 1


@pytest.fixture
def spend(user: User) -> Callable[..., None]:
    """Note that so much was used, and so much is held."""

    def spend(*, key_id: int = 0, **amounts: Any) -> None:
        Spending.objects.create(owner=user, key_id=key_id, day=datetime.now(UTC).date(), **amounts)

    return spend


def test_who_has_used_up_the_day_is_told_to_come_back_at_midnight(user: User, spend: Callable[..., None]) -> None:
    spend(tokens=1_000, cost=Decimal("0.5"))
    midnight = datetime.combine(datetime.now(UTC).date(), datetime.min.time(), UTC) + timedelta(days=1)

    with limited(tokens_per_day_per_user=1_001, cost_per_day_per_user="0.51"):
        admit(by_session(user))
    with limited(tokens_per_day_per_user=1_000):
        tokens = refused(by_session(user))
    with limited(cost_per_day_per_user="0.50"):
        cost = refused(by_session(user))

    assert tokens.message == "You have used up today's tokens. A new day begins at midnight UTC."
    assert cost.message == "You have used up today's money. A new day begins at midnight UTC."
    assert abs(tokens.retry_after - (midnight - datetime.now(UTC)).total_seconds()) < 60


def test_what_is_only_held_is_told_apart(user: User, spend: Callable[..., None]) -> None:
    spend(tokens=10, tokens_held=90)

    with limited(tokens_per_day_per_user=100):
        error = refused(by_session(user))

    assert error.message == "What you have left of today's tokens is held by answers in progress. Wait for one to end."
    assert error.retry_after == limits.SOON


def test_the_day_of_a_key_is_its_own(user: User, spend: Callable[..., None]) -> None:
    spend(key_id=KEY, tokens=100)

    with limited(tokens_per_day_per_key=100):
        admit(by_session(user))
        admit(by_key(user, KEY + 1))
        assert refused(by_key(user)).message.startswith("This API key has used up today's tokens")


def test_all_limits_together_take_three_queries(user: User, spend: Callable[..., None]) -> None:
    spend(tokens=1)
    with (
        limited(
            max_turns_per_key=9,
            turns_per_minute_per_user=9,
            turns_per_minute_per_key=9,
            tokens_per_day_per_user=9,
            cost_per_day_per_key="9",
        ),
        CaptureQueriesContext(connection) as queries,
    ):
        admit(by_key(user))

    assert len(queries) == 3


@pytest.mark.parametrize(
    ("chat", "complaint"),
    [
        ({"TURNS_PER_MINUTE_PER_USER": "many"}, "TURNS_PER_MINUTE_PER_USER"),
        ({"TOKENS_PER_DAY_PER_KEY": -1}, "TOKENS_PER_DAY_PER_KEY"),
        ({"COST_PER_DAY_PER_USER": "5 $"}, "COST_PER_DAY_PER_USER"),
        ({"COST_PER_DAY_PER_KEY": "NaN"}, "COST_PER_DAY_PER_KEY"),
    ],
)
def test_a_limit_that_is_no_number_is_found_by_the_check(chat: dict[str, Any], complaint: str) -> None:
    with override_settings(CHAT=chat):
        (found,) = run_checks(tags=["verbatim"])

    assert found.id == "verbatim.E006"
    assert complaint in str(found.msg)


def test_a_limit_of_cost_needs_prices() -> None:
    profiles = ({"name": "free"}, {"name": "dear", "prices": {"input": 1, "output": 2}})

    with override_settings(CHAT={"PROFILES": profiles, "COST_PER_DAY_PER_KEY": "1"}):
        (found,) = run_checks(tags=["verbatim"])

    assert found.id == "verbatim.W003"
    assert "'free'" in str(found.msg)
    assert "'dear'" not in str(found.msg)
