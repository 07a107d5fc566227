"""What a turn came to: the stored end of it, gathered from the log; the same every time it is asked for."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from history.errors import NotFound
from history.events import AssistantMessage, Kind, Source, ToolResult, TurnEnded
from history.models import Event


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An ended turn. `text` is all that the model said, over all its hops; `asked_at` is when the turn began."""

    turn_id: UUID
    conversation_id: UUID
    asked_at: datetime
    text: str
    messages: tuple[AssistantMessage, ...]
    results: tuple[ToolResult, ...]
    ended: TurnEnded

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the tools' results come from, each once, in order."""
        return tuple(dict.fromkeys(source for result in self.results for source in result.sources))


def answer_of(turn_id: UUID) -> Answer:
    """The answer of a turn. Raises `NotFound` if it has not ended, or is gone."""
    rows = Event.objects.filter(turn_id=turn_id).order_by("seq").values_list("conversation_id", "kind", "data", "at")
    said: list[AssistantMessage] = []
    results: list[ToolResult] = []
    asked_at: datetime | None = None
    for conversation_id, kind, data, at in rows:
        asked_at = asked_at or at
        match kind:
            case Kind.ASSISTANT_MESSAGE:
                said.append(msgspec.convert(data, AssistantMessage))
            case Kind.TOOL_RESULT:
                results.append(msgspec.convert(data, ToolResult))
            case Kind.TURN_ENDED:
                return Answer(
                    turn_id=turn_id,
                    conversation_id=conversation_id,
                    asked_at=asked_at,
                    text="".join(message.text for message in said),
                    messages=tuple(said),
                    results=tuple(results),
                    ended=msgspec.convert(data, TurnEnded),
                )
    raise NotFound
