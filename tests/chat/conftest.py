"""People at the doors, and something to find behind them."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from access.keys import create_key
from history import conversations
from history.events import AssistantMessage, TurnEnded, UserMessage
from history.log import appending
from history.models import Conversation, Status, Turn
from tests.streaming.conftest import stage as stage

CONVERSATIONS = "/api/v1/conversations/"


@pytest.fixture
def ada(user: User) -> Client:
    """Ada with an API key."""
    return Client(headers={"X-API-Key": create_key(user).text})


@pytest.fixture
def bob(other_user: User) -> Client:
    """Bob with one of his."""
    return Client(headers={"X-API-Key": create_key(other_user).text})


@pytest.fixture
def conversation(user: User) -> Conversation:
    """An empty one of Ada's."""
    return conversations.create(user.pk)


def queries(client: Client, address: str) -> int:
    """How many queries it takes to answer."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


def add_turn(conversation: Conversation, text: str = "Hello") -> Turn:
    """A turn that was asked and answered: three events."""
    turn = Turn.objects.create(
        conversation=conversation, owner_id=conversation.owner_id, status=Status.COMPLETED, model="demo"
    )
    with appending(conversation.pk) as log:
        log.append(turn.pk, UserMessage(text=text))
        log.append(turn.pk, AssistantMessage(hop=0, text="Good day \U0001f9ff", runs=(("text", 10),)))
        log.append(turn.pk, TurnEnded(status="completed"))
    return turn


def begin_turn(conversation: Conversation, status: Status = Status.RUNNING) -> Turn:
    """A turn that is being answered, by some process."""
    turn = Turn.objects.create(conversation=conversation, owner_id=conversation.owner_id, status=status, engine=uuid4())
    with appending(conversation.pk) as log:
        log.append(turn.pk, UserMessage(text="Hello?"))
    return turn
