"""How far a turn has come, by its events: what another process needs to go on with it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from history.context import Said
from history.events import AssistantMessage, Kind, ToolResult
from llm.types import Usage, total_of


class Progress(NamedTuple):
    """`hop` is the one that is in progress. If it is in its tools, `message` asked for them and `results` are those
    that are there, by the call's number; else it is to be asked. `said` are the events before it, `usage` what the
    turn's model calls have used."""

    hop: int = 0
    message: AssistantMessage | None = None
    results: Mapping[int, ToolResult] = {}
    said: Sequence[Said] = ()
    usage: Usage | None = None

    @property
    def asks(self) -> int:
        """The hop in which the model is asked next."""
        return self.hop if self.message is None else self.hop + 1


def progress_of(events: Sequence[Said]) -> Progress:
    """Of one turn's events, in order, kind and data of each."""
    messages = [msgspec.convert(data, AssistantMessage) for kind, data in events if kind == Kind.ASSISTANT_MESSAGE]
    if not messages:
        return Progress(said=events)
    last = messages[-1]
    usage = total_of(message.usage for message in messages)
    results = {
        result.index: result
        for result in (msgspec.convert(data, ToolResult) for kind, data in events if kind == Kind.TOOL_RESULT)
        if result.hop == last.hop
    }
    if len(results) == len(last.tool_calls):
        return Progress(hop=last.hop + 1, said=events, usage=usage)
    before = [(kind, data) for kind, data in events if not _is_of(last.hop, kind, data)]
    return Progress(hop=last.hop, message=last, results=results, said=before, usage=usage)


def _is_of(hop: int, kind: str, data: Mapping[str, object]) -> bool:
    return kind in (Kind.ASSISTANT_MESSAGE, Kind.TOOL_RESULT) and data["hop"] == hop
