"""How far a turn has come, by its events."""

from __future__ import annotations

from typing import Any

import msgspec

from history.context import Said
from history.events import KINDS, AssistantMessage, EventData, ToolResult, TurnRestarted, UserMessage
from history.progress import Progress, progress_of
from llm.types import ToolCall, Usage, total_of

ASKED = UserMessage(text="Well?")


def as_stored(*events: EventData) -> list[Said]:
    return [(KINDS[type(event)].value, msgspec.to_builtins(event)) for event in events]


def hop(number: int, *, calls: int, usage: Usage | None = None) -> AssistantMessage:
    asked = tuple(ToolCall(id=f"{number}.{index}", name="look", arguments="{}") for index in range(calls))
    return AssistantMessage(hop=number, text=f"hop {number}", tool_calls=asked, usage=usage)


def result(number: int, index: int) -> ToolResult:
    return ToolResult(hop=number, index=index, tool_call_id=f"{number}.{index}", name="look", content="seen")


def shape(progress: Progress) -> tuple[Any, ...]:
    return (progress.hop, progress.asks, progress.message is not None, sorted(progress.results), len(progress.said))


def test_a_turn_that_has_said_nothing_is_at_its_first_hop() -> None:
    assert shape(progress_of(as_stored(ASKED))) == (0, 0, False, [], 1)
    assert shape(progress_of([])) == (0, 0, False, [], 0)


def test_a_hop_whose_calls_are_not_all_answered_is_in_progress_and_not_among_what_was_said() -> None:
    events = as_stored(ASKED, hop(0, calls=1), result(0, 0), hop(1, calls=3), result(1, 2))

    progress = progress_of(events)

    assert shape(progress) == (1, 2, True, [2], 3)
    assert progress.said == events[:3]


def test_results_of_another_hop_answer_nothing() -> None:
    progress = progress_of(as_stored(ASKED, hop(0, calls=1), result(0, 0), hop(1, calls=1)))

    assert shape(progress) == (1, 2, True, [], 3)


def test_a_hop_whose_calls_are_all_answered_is_over_in_whatever_order_that_happened() -> None:
    events = as_stored(
        ASKED, hop(0, calls=2), result(0, 1), TurnRestarted(attempt=2, hop=1, reason="lost"), result(0, 0)
    )

    assert shape(progress_of(events)) == (1, 1, False, [], 5)


def test_what_was_used_is_summed_over_the_hops_that_said_so() -> None:
    used = Usage(prompt=5, completion=7)
    events = as_stored(ASKED, hop(0, calls=1, usage=used), result(0, 0), hop(1, calls=1), result(1, 0))
    more = as_stored(hop(2, calls=1, usage=used))

    assert progress_of(events).usage == used
    assert progress_of([*events, *more]).usage == Usage(prompt=10, completion=14)
    assert total_of([None, None]) is None
