"""Writes a conversation of many events: `python -m bench.fill USER EVENTS` prints its id. For a site's environment."""

from __future__ import annotations

import sys

import django
from django.contrib.auth import get_user_model


def fill(username: str, *, events: int) -> str:
    """A conversation of that user, of turns of three events each, all ended. Its id."""
    from history.events import AssistantMessage, TurnEnded, UserMessage
    from history.log import appending
    from history.models import Conversation, Status, Turn

    owner = get_user_model().objects.get(username=username)
    conversation = Conversation.objects.create(owner=owner)
    turns = [Turn(conversation=conversation, owner=owner, status=Status.COMPLETED) for _ in range(events // 3)]
    Turn.objects.bulk_create(turns)
    with appending(conversation.pk) as log:
        for turn in turns:
            log.append(turn.pk, UserMessage(text="And then?"))
            log.append(turn.pk, AssistantMessage(hop=0, text="Then it went on.", finish_reason="stop"))
            log.append(turn.pk, TurnEnded(status="completed"))
    return str(conversation.pk)


if __name__ == "__main__":
    django.setup()
    print(fill(sys.argv[1], events=int(sys.argv[2])))
