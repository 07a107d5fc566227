"""What conversations show beside their logs, and where they stand: of many at once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection

from history import conversations
from history.models import Turn
from history.positions import positions
from history.states import states

pytestmark = pytest.mark.django_db


def test_of_many_each_that_is_there_is_told_with_its_newest_turn(user: User) -> None:
    idle, busy, away = (conversations.create(user.pk).pk for _ in range(3))
    for profile, status in (("old", "completed"), ("new", "running")):
        Turn.objects.create(conversation_id=busy, owner=user, profile=profile, status=status)
    conversations.change(away, title="Away", archived=True)

    found = states([idle, busy, away, uuid4()])

    assert found == {
        idle: {"title": "", "status": "idle", "model": "", "archived": False},
        busy: {"title": "", "status": "running", "model": "new", "archived": False},
        away: {"title": "Away", "status": "idle", "model": "", "archived": True},
    }
    assert positions([idle, busy]) == {idle: 0, busy: 0}
    assert states([]) == {}


@pytest.mark.parametrize("ask", [states, positions])
def test_a_thousand_are_asked_for_as_shortly_as_one(ask: Callable[[Collection[UUID]], Any]) -> None:
    asked: list[tuple[str, int]] = []

    def note(execute: Callable[..., Any], sql: str, params: Collection[Any], many: bool, context: Any) -> Any:
        asked.append((sql, len(params)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        for many in (1, 1_000):
            ask([uuid4() for _ in range(many)])

    one, thousand = asked
    assert thousand == one
