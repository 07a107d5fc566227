"""Tools that the caller runs, in the turn loop: a call of one ends the turn, whatever else was called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import pytest

from history.events import AssistantMessage, ToolResult
from history.progress import Progress
from llm.errors import Truncated
from llm.scripted import ScriptedModel, Step, says
from llm.types import Finish, TextDelta, ToolCall, Usage
from streaming.play import Ended, Item, play
from streaming.stop import Reason, Stop
from tests.streaming.test_play import CALLS, REQUEST, add, call
from tools.tool import ToolContext
from tools.toolbox import Toolbox

THEIRS = call(1, name="look_up", arguments="{}")
END = Finish(reason="tool_calls")


def playing(
    replies: Sequence[Sequence[Step]], *, stop: Stop | None = None, progress: Progress | None = None, **asked: Any
) -> tuple[AsyncGenerator[Item, None], ScriptedModel]:
    model = ScriptedModel(replies)
    items = play(
        msgspec.structs.replace(REQUEST, **asked),
        model=model,
        model_name="m",
        toolbox=Toolbox([add]),
        context=ToolContext(principal="1", conversation="c", turn="t"),
        stop=stop or Stop(),
        max_hops=8,
        budget=100_000,
        callers=frozenset({"look_up"}),
        progress=progress or Progress(),
    )
    return items, model


async def kept(items: AsyncGenerator[Item, None]) -> list[Any]:
    """What goes into the log."""
    return [item async for item in items if isinstance(item, AssistantMessage | ToolResult | Ended)]


async def test_a_call_of_the_callers_tool_is_the_last_word_of_the_turn() -> None:
    items, model = playing([(THEIRS, Finish(reason="stop"), Usage(prompt=3, completion=2))])

    [ended] = await kept(items)

    assert ended.message.tool_calls == (ToolCall(id="c1", name="look_up", arguments="{}"),)
    assert (ended.ended.status, ended.ended.finish_reason) == ("completed", "tool_calls")
    assert ended.ended.usage == Usage(prompt=3, completion=2)
    assert len(model.requests) == 1


async def test_of_both_kinds_ours_are_run_and_theirs_are_left() -> None:
    items, model = playing([(call(), THEIRS, END, Usage(prompt=3, completion=2))])

    message, result, ended = await kept(items)

    assert [each.name for each in message.tool_calls] == ["add", "look_up"]
    assert (result.index, result.content) == (0, "3")
    assert (ended.message, ended.ended.finish_reason, ended.ended.usage.prompt) == (None, "tool_calls", 3)
    assert len(model.requests) == 1


async def test_theirs_after_a_round_of_ours_ends_the_turn_with_the_usage_of_both() -> None:
    items, _ = playing([(*CALLS, Usage(prompt=1, completion=1)), (THEIRS, END, Usage(prompt=2, completion=2))])

    *_, ended = await kept(items)

    assert (ended.message.hop, ended.ended.usage) == (1, Usage(prompt=3, completion=3))


async def test_a_reply_that_breaks_off_in_a_call_of_theirs_has_not_called() -> None:
    items, _ = playing([(TextDelta(text="Let me"), THEIRS, Truncated())])

    [ended] = await kept(items)

    assert (ended.ended.status, ended.ended.error.code) == ("failed", "truncated")
    assert (ended.message.text, ended.message.tool_calls) == ("Let me", ())


async def test_another_process_goes_on_with_ours_and_still_leaves_theirs() -> None:
    calls = (ToolCall(id="a", name="nothing", arguments="{}"), ToolCall(id="b", name="look_up", arguments="{}"))
    progress = Progress(hop=0, message=AssistantMessage(hop=0, tool_calls=calls), usage=Usage(prompt=3))
    items, model = playing([], progress=progress)

    result, ended = await kept(items)

    assert (result.index, result.is_error) == (0, True)
    assert (ended.ended.status, ended.ended.finish_reason) == ("completed", "tool_calls")
    assert not model.requests


async def test_a_stop_while_ours_run_leaves_theirs_and_cancels_the_turn() -> None:
    stop = Stop()
    items, _ = playing([(call(), THEIRS, END)], stop=stop)
    said: list[Any] = []

    async for item in items:
        said.append(item)
        if isinstance(item, AssistantMessage):
            stop.request(Reason.CANCELLED)

    results = [item.index for item in said if isinstance(item, ToolResult)]
    assert results == [0]
    assert said[-1].ended.status == "cancelled"


@pytest.mark.parametrize("asked", [{"tool_choice": "required"}, {"tool_choice": "required", "tool": "add"}])
async def test_that_a_tool_must_be_called_holds_for_the_first_call_only(asked: Any) -> None:
    items, model = playing([CALLS, says("It is 3.")], **asked)

    await kept(items)

    assert [(each.tool_choice, each.tool) for each in model.requests] == [
        (asked["tool_choice"], asked.get("tool", "")),
        ("auto", ""),
    ]
