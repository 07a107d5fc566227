"""Orders that meet a lock which somebody does not give back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connection

from access.principals import Principal
from history import status
from history.compaction import Place
from history.models import Turn
from streaming.errors import Busy
from streaming.turns import delete_conversation, stop_turn
from tests.history.stage import elsewhere, new_conversation, new_turn, place_of, running


def stop(place: Place, principal: Principal) -> None:
    stop_turn(principal, place.turn_id)


def delete(place: Place, principal: Principal) -> None:
    delete_conversation(principal, place.conversation_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", [stop, delete])
@pytest.mark.parametrize("begun", [True, False])
def test_an_order_waits_for_a_lock_for_a_while_and_is_refused(
    user: User, order: Callable[..., None], begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are few threads for orders: two that wait for ever would keep everybody from sending and stopping."""
    if connection.vendor == "sqlite":  # has one lock for all, and a bound of its own
        return
    place = running(user) if begun else place_of(new_turn(new_conversation(user)))
    monkeypatch.setattr(status, "ORDER_LOCK_TIMEOUT", 0.05)

    with elsewhere(partial(status.fence, place.turn_id, attempt=place.attempt)), pytest.raises(Busy):
        order(place, Principal(user_id=user.pk))

    assert Turn.objects.values_list("status", flat=True).get() == ("running" if begun else "queued")
