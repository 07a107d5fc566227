"""What a process of the version before the newest migration writes, reads and deletes at today's tables."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import StateApps

from history import conversations, status
from history.models import Conversation, DeltaBatch, Event, Status, Turn

OURS = ("verbatim_history", "verbatim_access")


def models_before(app: str) -> StateApps:
    """All models as they were before the newest migration of this app."""
    loader = MigrationLoader(connection)
    (newest,) = loader.graph.leaf_nodes(app)
    before = [node.key for node in loader.graph.node_map[newest].parents if node.key[0] == app]
    others = [leaf for leaf in loader.graph.leaf_nodes() if leaf[0] not in OURS]
    return loader.project_state([*before, *others], at_end=True).apps


@pytest.fixture
def before(db: None) -> StateApps:
    return models_before("verbatim_history")


def turn_of(before: StateApps, owner: User) -> Any:
    """A running turn with a message and some text, all written by the version before."""

    def model(name: str) -> Any:
        return before.get_model("verbatim_history", name)

    conversation = model("Conversation").objects.create(owner_id=owner.pk)
    turn = model("Turn").objects.create(conversation=conversation, owner_id=owner.pk, status="running", attempt=1)
    for seq, kind in enumerate(("user_message", "assistant_message"), 1):
        hop = 0 if kind == "assistant_message" else None
        model("Event").objects.create(conversation=conversation, seq=seq, kind=kind, turn=turn, hop=hop, data={})
    model("DeltaBatch").objects.create(turn_id=turn.pk, attempt=1, hop=1, start=0, text="Once", runs=[["text", 4]])
    return turn


def test_rows_of_the_version_before_are_whole(before: StateApps, user: User) -> None:
    old = turn_of(before, user)

    turn = Turn.objects.get(pk=old.pk)

    assert (turn.status, turn.attempt, turn.losses) == (Status.RUNNING, 1, 0)
    assert list(Event.objects.filter(turn=turn).values_list("seq", flat=True)) == [1, 2]
    assert DeltaBatch.objects.get(turn_id=turn.pk).text == "Once"
    assert status.request_stop(turn.pk)


def test_the_version_before_reads_and_ends_what_this_one_has_begun(before: StateApps, user: User) -> None:
    conversation = conversations.create(user.pk)
    turn = Turn.objects.create(conversation=conversation, owner=user, status=Status.RUNNING, attempt=2, losses=1)

    old = before.get_model("verbatim_history", "Turn").objects.get(pk=turn.pk)
    old.status = "failed"
    old.save()

    turn.refresh_from_db()
    assert (old.attempt, turn.status, turn.losses) == (2, Status.FAILED, 1)


@pytest.mark.django_db(transaction=True)
def test_the_version_before_deletes_whatever_this_one_has_written(user: User) -> None:
    before = models_before("verbatim_history")
    conversation = conversations.create(user.pk)
    turn = Turn.objects.create(conversation=conversation, owner=user, status=Status.COMPLETED)
    Event.objects.create(conversation=conversation, seq=1, kind="turn_ended", turn=turn, data={})

    before.get_model("verbatim_history", "Conversation").objects.get(pk=conversation.pk).delete()

    assert not Conversation.objects.filter(pk=conversation.pk).exists()
    assert not Turn.objects.filter(pk=turn.pk).exists()
