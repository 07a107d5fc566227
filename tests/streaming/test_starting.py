"""Starting a turn: how little the database is asked, and whose the turn is from its commit on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from access.principals import Principal
from access.selectors import require_valid
from history import committed, conversations
from history.committed import Committed
from history.conf import chat_settings
from history.models import Turn
from history.status import FIRST
from llm.types import TextDelta
from streaming.errors import InvalidRequest
from streaming.orders import Order
from streaming.turns import start_turn

FRAME = ("SAVEPOINT", "RELEASE", "SELECT set_config")
"""What goes around the statements that do something."""


@pytest.mark.django_db
def test_a_turn_is_started_with_eight_statements_however_long_the_conversation_is(user: User) -> None:
    principal = Principal(user_id=user.pk)
    conversation = conversations.create(user.pk)
    asked = []
    for number in range(3):
        with CaptureQueriesContext(connection) as captured:
            require_valid(principal)
            start_turn(principal, conversation.pk, Order(request_id=f"r{number}", text="hi", model="demo"))
        asked.append(sum(not query["sql"].startswith(FRAME) for query in captured))
        Turn.objects.update(status="completed")

    assert asked == [8, 8, 8]


@pytest.mark.django_db
def test_a_turn_waits_for_an_engine_where_none_is(user: User) -> None:
    conversation = conversations.create(user.pk)

    started = start_turn(Principal(user_id=user.pk), conversation.pk, Order(text="hi"))

    turn = Turn.objects.get(pk=started.turn_id)
    assert (turn.status, turn.attempt, turn.engine, turn.lease_expires_at) == ("queued", 0, None, None)


async def test_an_engine_owns_the_turns_that_are_made_where_it_is(stage: Callable[..., Any]) -> None:
    """From the commit on: the first that anybody hears of the turn is that it runs."""
    on = await stage([[TextDelta(text="One "), asyncio.Event()]])
    told: list[Committed] = []
    committed.listeners.append(told.append)
    try:
        started = await on.send()
    finally:
        committed.listeners.remove(told.append)

    turn = await Turn.objects.aget(pk=started.turn_id)
    assert [(change.status, len(change.entries)) for change in told] == [("running", 1)]
    assert (turn.status, turn.attempt, turn.engine) == ("running", FIRST, on.engine.id)
    assert turn.lease_expires_at
    assert turn.started_at
    owned = turn.lease_expires_at - turn.started_at  # SQLite looks at the clock twice
    assert owned - timedelta(seconds=chat_settings().lease) < timedelta(seconds=1)
    assert owned >= timedelta(seconds=chat_settings().lease)


async def test_a_turn_that_is_about_to_be_committed_counts_as_one_that_is_here(stage: Callable[..., Any]) -> None:
    on = await stage([])
    tasks, turn_id = on.engine.tasks, uuid4()

    with override_settings(CHAT={"MAX_TURNS": 1}):
        with tasks.expecting(turn_id):
            inside = (turn_id in tasks.ids(), turn_id in tasks.running(), tasks.room())
        outside = (turn_id in tasks.ids(), turn_id in tasks.running(), tasks.room())

    assert (inside, outside) == ((True, False, 1), (False, False, 1))


async def test_a_turn_that_could_not_be_stored_is_expected_no_longer(stage: Callable[..., Any]) -> None:
    on = await stage([])

    with pytest.raises(InvalidRequest):
        await on.send("hi", replaces=uuid4())

    assert not on.engine.tasks.ids()
    assert not await Turn.objects.aexists()
