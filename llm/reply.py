"""One call's deltas folded into one message; pure."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import groupby
from typing import Literal, TypeAlias

from llm.errors import Malformed
from llm.types import Delta, Finish, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta, Usage

logger = logging.getLogger(__name__)

Channel: TypeAlias = Literal["text", "reasoning"]

CHANNELS: Mapping[type, Channel] = {TextDelta: "text", ReasoningDelta: "reasoning"}

UNNAMED = "unnamed"
"""The name of a call whose tool the model did not say."""
MOST_CALLS = 64
"""Calls of one reply. Nobody means more: a model that goes on has lost its way."""


class _Call:
    """Tool call `number` of the reply, as far as it has come."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.name = ""
        self.arguments = ""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a complete JSON object, so that nothing can be missing."""
        try:
            return isinstance(json.loads(self.arguments), dict)
        except (ValueError, RecursionError):
            return False


class Reply:
    """What one model call has said so far."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._said: list[TextDelta | ReasoningDelta] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    def add(self, delta: Delta) -> int | None:
        """Take in the next delta. For a fragment of a tool call: which call it belongs to, counted from 0.

        Raises `Malformed` for a call beyond `MOST_CALLS`; what was said before stays.
        """
        match delta:
            case TextDelta() | ReasoningDelta():
                self._said.append(delta)
            case ToolCallDelta():
                return self._add_call(delta)
            case Finish(reason=reason):
                self.finish_reason = reason
            case Usage():
                self.usage = delta
        return None

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(delta.text for delta in self._said if isinstance(delta, TextDelta))

    @property
    def reasoning(self) -> str:
        """What the model thought aloud."""
        return "".join(delta.text for delta in self._said if isinstance(delta, ReasoningDelta))

    @property
    def runs(self) -> tuple[tuple[Channel, int], ...]:
        """Channel and length in code points of each stretch of the draft, in order of arrival; neighbours differ."""
        stretches = groupby(self._said, key=lambda delta: CHANNELS[type(delta)])
        return tuple((channel, sum(len(delta.text) for delta in stretch)) for channel, stretch in stretches)

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls in order, each with an id of its own: providers omit and repeat them. One that never said which
        tool it wants is not dropped: it is called `UNNAMED`, which is no tool, and will be answered with that."""
        taken: set[str] = set()
        calls: list[ToolCall] = []
        for number, call in enumerate(self._calls):
            call_id = call.id if call.id and call.id not in taken else f"call_{number}"
            while call_id in taken:
                call_id += "_"
            taken.add(call_id)
            calls.append(ToolCall(id=call_id, name=call.name or UNNAMED, arguments=call.arguments.strip() or "{}"))
        return tuple(calls)

    def _add_call(self, fragment: ToolCallDelta) -> int:
        call = self._known(fragment)
        if call is None or _begins_another(call, fragment=fragment):
            call = self._new_call()
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        is_repeat = bool(fragment.name) and call.arguments == fragment.arguments
        call.id = call.id or fragment.id or ""
        call.name = call.name or fragment.name or ""
        if not is_repeat:
            call.arguments += fragment.arguments
        return call.number

    def _new_call(self) -> _Call:
        if len(self._calls) == MOST_CALLS:
            logger.warning("a reply with more than %d tool calls is given up", MOST_CALLS)
            raise Malformed
        call = _Call(len(self._calls))
        self._calls.append(call)
        return call

    def _known(self, fragment: ToolCallDelta) -> _Call | None:
        """The call which the fragment would continue: by index, else by id, else the newest."""
        if fragment.index is not None:
            return self._by_index.get(fragment.index)
        if fragment.id:
            same = [call for call in self._calls if call.id == fragment.id]
            if same:
                return same[-1]
        return self._calls[-1] if self._calls else None


def _begins_another(call: _Call, *, fragment: ToolCallDelta) -> bool:
    """Whether the fragment is of another call than the one it seems to continue.

    Some providers give every call index 0, some omit the index, some make up a new id per fragment (then without the
    name), and some repeat id and name in every fragment of one call.
    """
    if fragment.id and call.id and fragment.id != call.id and (fragment.index is None or fragment.name):
        return True
    if fragment.name and call.name and fragment.name != call.name:
        return True
    return bool(fragment.name and fragment.arguments) and fragment.arguments != call.arguments and call.is_whole
