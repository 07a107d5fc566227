"""Limits that a key has of its own, and what is told of what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from access.errors import QuotaExceeded, RateLimited
from access.keys import create_key, verify
from access.limits import Payer, admit
from access.models import ApiKey, Spending
from access.principals import Principal
from access.standing import Left, Standing, standing
from history import conversations
from history.models import Turn
from tests.access.test_holds import reserve, rows, running
from tests.history.test_versions import models_before


def limited(user: User, **limits: Any) -> Principal:
    """Somebody with a key of such limits."""
    row = create_key(user).row
    ApiKey.objects.filter(pk=row.pk).update(**limits)
    return Principal(user_id=user.pk, key_id=row.pk)


def asked(by: Principal, *, status: str = "completed", ago: float = 0) -> None:
    """A turn that was asked for so many seconds ago."""
    conversation = conversations.create(by.user_id)
    turn = Turn.objects.create(conversation=conversation, owner_id=by.user_id, key_id=by.key_id, status=status)
    if ago:
        Turn.objects.filter(pk=turn.pk).update(created_at=datetime.now(UTC) - timedelta(seconds=ago))


def spent(by: Principal, **amounts: Any) -> None:
    Spending.objects.create(owner_id=by.user_id, key_id=by.key_id or 0, day=datetime.now(UTC).date(), **amounts)


@pytest.mark.parametrize("of_all", [{}, {"MAX_TURNS_PER_KEY": 9, "TURNS_PER_MINUTE_PER_KEY": 9}])
@pytest.mark.parametrize(
    ("limits", "sentence"),
    [({"max_turns": 2}, "2 answers in progress"), ({"turns_per_minute": 2}, "asked 2 times within a minute")],
)
def test_a_keys_own_limit_of_turns_comes_before_that_of_all_keys(
    user: User, of_all: dict[str, int], limits: dict[str, int], sentence: str
) -> None:
    key, other = limited(user, **limits), limited(user)
    with override_settings(CHAT=of_all):
        for _ in range(2):
            admit(key)
            asked(key, status="running")

        with pytest.raises(RateLimited, match=f"This API key has {sentence}"):
            admit(key)
        admit(other)
        admit(Principal(user_id=user.pk))


@pytest.mark.parametrize("limits", [{"tokens_per_day": 100}, {"cost_per_day": Decimal("0.05")}])
def test_a_keys_own_limit_of_a_day_is_kept_to_before_a_turn_and_before_each_call(
    user: User, limits: dict[str, Any]
) -> None:
    key, turn = limited(user, **limits), running(user)

    first = reserve(turn, key_id=key.key_id, tokens=99, cost="0.04")
    second = reserve(turn, key_id=key.key_id, tokens=10, cost="0.04")
    with pytest.raises(QuotaExceeded):
        reserve(turn, key_id=key.key_id, tokens=1, cost="0.01")
    with pytest.raises(RateLimited, match="What this API key has left of today's"):
        admit(key)

    assert first.accounts == second.accounts == [key.key_id]
    assert rows() == [(key.key_id, 0, 109, 0, Decimal("0.08"))]


def test_the_users_limits_hold_beside_the_keys(user: User) -> None:
    key = limited(user, turns_per_minute=5)
    asked(Principal(user_id=user.pk))

    with (
        override_settings(CHAT={"TURNS_PER_MINUTE_PER_USER": 1}),
        pytest.raises(RateLimited, match="You have asked 1 time"),
    ):
        admit(key)


def test_a_limit_that_is_lowered_holds_from_the_next_call_on(user: User) -> None:
    key, turn = limited(user, tokens_per_day=100), running(user)
    reserve(turn, key_id=key.key_id, tokens=20)

    ApiKey.objects.update(tokens_per_day=20)

    with pytest.raises(QuotaExceeded):
        reserve(turn, key_id=key.key_id, tokens=20)


def test_what_is_left_is_told_of_whichever_limit_is_nearest(user: User) -> None:
    key = limited(user, turns_per_minute=3, tokens_per_day=1_000)
    asked(key, ago=30)
    asked(key, ago=61)
    spent(key, tokens=200, tokens_held=100)

    told = standing(Payer(user.pk, key.key_id))
    with override_settings(CHAT={"TURNS_PER_MINUTE_PER_USER": 1, "TOKENS_PER_DAY_PER_USER": 800}):
        nearest = standing(Payer(user.pk, key.key_id))

    assert told.requests is not None
    assert told.tokens is not None
    assert told.requests[:2] == (3, 2)
    assert 25 <= told.requests.reset <= 31
    assert told.tokens[:2] == (1_000, 700)
    assert nearest == Standing(Left(1, 0, told.requests.reset), Left(1_000, 700, told.tokens.reset))


def test_all_that_was_overshot_is_nothing_left(user: User) -> None:
    key = limited(user, turns_per_minute=1, tokens_per_day=10)
    for _ in range(2):
        asked(key)
    spent(key, tokens=11)

    told = standing(Payer(user.pk, key.key_id))

    assert [left and left.remaining for left in told] == [0, 0]


def test_where_nothing_is_limited_nothing_is_told_or_counted(user: User) -> None:
    key = limited(user, max_turns=3, cost_per_day=1)

    with CaptureQueriesContext(connection) as queries:
        told = standing(Payer(user.pk, key.key_id))

    assert told == Standing(None, None)
    assert len(queries) == 1


def test_keys_of_the_version_before_have_no_limits_of_their_own(user: User) -> None:
    """It makes and revokes keys beside this one, at the same table."""
    text = create_key(user).text
    row = models_before("verbatim_access").get_model("verbatim_access", "ApiKey").objects.get()
    row.pk, row.prefix = None, "0" * 8
    row.save(force_insert=True)

    made = ApiKey.objects.get(prefix="0" * 8)

    assert (made.max_turns, made.turns_per_minute, made.tokens_per_day, made.cost_per_day) == (None,) * 4
    assert verify(text).digest == made.digest
