"""What was said elsewhere, before it came here: turns that have ended, with the events they would have had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never
from uuid import UUID, uuid4

from django.db.models.functions import Now
from msgspec import UNSET

from history import events
from history.events import CallerResult, EventData, ToolResult, TurnEnded
from history.log import Appending
from history.models import Status, Turn
from llm.types import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage


class Exchange:
    """One turn: what the caller said, then what the model said and what its tools answered."""

    def __init__(self, said: UserMessage | None = None) -> None:
        self.said = said
        self.brought: list[CallerResult] = []
        """Answers to calls of the turn before."""
        self.hops: list[events.AssistantMessage] = []
        self.answers: list[dict[int, ToolResult]] = []
        """Of each hop, by which of its calls they answer."""

    def hear(self, message: UserMessage | AssistantMessage | ToolMessage) -> bool:
        """Take in the next message; False if it begins another turn."""
        match message:
            case UserMessage():
                if self.said is not None or self.hops:
                    return False
                self.said = message
            case AssistantMessage():
                self.hops.append(_hop(message, number=len(self.hops)))
                self.answers.append({})
            case ToolMessage() if self.hops:
                self._answered(message)
            case ToolMessage():
                self.brought.append(CallerResult(tool_call_id=message.tool_call_id, content=message.content))
            case _:
                assert_never(message)
        return True

    def events(self, *, parent: UUID | None) -> Iterable[EventData]:
        """Its events, in order."""
        said = self.said or UserMessage(text="")
        is_persons = self.said is not None and not self.brought
        yield events.UserMessage(
            text=said.text,
            parts=said.parts or UNSET,
            results=UNSET if is_persons else tuple(self.brought),
            parent=str(parent) if parent else None,
        )
        for hop, answers in zip(self.hops, self.answers, strict=True):
            yield hop
            yield from (answers[index] for index in sorted(answers))
        reason = "tool_calls" if self.hops and self.hops[-1].tool_calls else "stop"
        yield TurnEnded(status="completed", finish_reason=reason)

    def _answered(self, message: ToolMessage) -> None:
        hop, answers = self.hops[-1], self.answers[-1]
        for index, call in enumerate(hop.tool_calls):
            if call.id == message.tool_call_id and index not in answers:
                answers[index] = ToolResult(
                    hop=hop.hop, index=index, tool_call_id=call.id, name=call.name, content=message.content
                )
                return


def exchanges(messages: Iterable[Message]) -> list[Exchange]:
    """The turns that these messages are."""
    found: list[Exchange] = []
    for message in messages:
        if isinstance(message, SystemMessage):
            continue
        if not found or not found[-1].hear(message):
            found.append(Exchange())
            found[-1].hear(message)
    return found


def append(log: Appending, messages: Iterable[Message], *, owner_id: Any, key_id: int | None) -> UUID | None:
    """Append what was said elsewhere to a conversation, after the turn that was asked last. Returns the last turn of
    it."""
    parent = log.asked
    turns: list[Turn] = []
    for exchange in exchanges(messages):
        turn = Turn(
            pk=uuid4(),
            conversation_id=log.conversation_id,
            owner_id=owner_id,
            key_id=key_id,
            parent_id=parent,
            origin=Turn.Origin.IMPORTED,
            status=Status.COMPLETED,
            started_at=Now(),
            ended_at=Now(),
        )
        for event in exchange.events(parent=parent):
            log.append(turn.pk, event)
        turns.append(turn)
        parent = turn.pk
    Turn.objects.bulk_create(turns)
    return parent


def _hop(message: AssistantMessage, *, number: int) -> events.AssistantMessage:
    return events.AssistantMessage(
        hop=number,
        text=message.text,
        tool_calls=message.tool_calls,
        finish_reason="tool_calls" if message.tool_calls else "stop",
        runs=(("text", len(message.text)),) if message.text else (),
    )
