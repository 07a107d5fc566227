"""The turn loop, alone: plain values in, plain values out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from history.events import AssistantMessage, ToolResult
from history.progress import Progress
from llm.errors import EmptyReply, Truncated
from llm.reply import MOST_CALLS
from llm.scripted import ScriptedModel, Step, says
from llm.types import AssistantMessage as Said
from llm.types import (
    ChatRequest,
    Finish,
    Message,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolMessage,
    ToolSpec,
    Usage,
    UserMessage,
)
from streaming.play import LIMIT_REACHED, Ended, Item, play
from streaming.stop import Reason, Stop
from tools.tool import Tool, ToolContext, tool
from tools.toolbox import Toolbox

SPEC = ToolSpec(name="add", description="", parameters={"type": "object"})
REQUEST = ChatRequest(messages=(UserMessage(text="hi"),), tools=(SPEC,), call_id="t:1")


@tool
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


def call(index: int = 0, *, name: str = "add", arguments: str = '{"a": 1, "b": 2}') -> ToolCallDelta:
    return ToolCallDelta(index=index, id=f"c{index}", name=name, arguments=arguments)


CALLS = (call(), Finish(reason="tool_calls"))


async def perform(
    replies: Sequence[Sequence[Step]],
    *,
    tools: Sequence[Tool] = (add,),
    stop: Stop | None = None,
    max_hops: int = 8,
    budget: int = 100_000,
    before: tuple[Message, ...] = (),
) -> tuple[list[Any], ScriptedModel]:
    model = ScriptedModel(replies)
    items = playing(model, tools=tools, stop=stop or Stop(), max_hops=max_hops, budget=budget, before=before)
    return [item async for item in items], model


def playing(
    model: ScriptedModel,
    *,
    stop: Stop,
    tools: Sequence[Tool] = (add,),
    max_hops: int = 8,
    budget: int = 100_000,
    before: tuple[Message, ...] = (),
    progress: Progress = Progress(),  # noqa: B008
) -> AsyncGenerator[Item, None]:
    return play(
        msgspec.structs.replace(REQUEST, messages=before + REQUEST.messages),
        model=model,
        model_name="m",
        toolbox=Toolbox(tools),
        context=ToolContext(principal="1", conversation="c", turn="t"),
        stop=stop,
        max_hops=max_hops,
        budget=budget,
        progress=progress,
    )


def deltas(items: Sequence[Any]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta))


async def test_text_is_passed_on_as_it_comes_and_ends_in_one_message() -> None:
    items, _ = await perform([[*says("Hel", "lo"), Usage(prompt=3, completion=2)]])

    ended = items[-1]
    assert deltas(items) == "Hello"
    assert isinstance(ended, Ended)
    assert ended.message is not None
    assert (ended.message.text, ended.message.runs, ended.message.finish_reason) == ("Hello", (("text", 5),), "stop")
    assert (ended.ended.status, ended.ended.usage) == ("completed", Usage(prompt=3, completion=2))


async def test_a_tool_hop_stores_the_call_before_the_result_and_asks_again_with_both() -> None:
    """A2.11: the calls come before the results, each with its id; A2.14: the follow-up is the next hop."""
    items, model = await perform([[TextDelta(text="Let me see. "), *CALLS], says("It is 3.")])

    kinds = [type(item) for item in items if not isinstance(item, TextDelta | ToolCallDelta | Finish)]
    assert kinds == [AssistantMessage, ToolResult, Ended]
    message = next(item for item in items if isinstance(item, AssistantMessage))
    result = next(item for item in items if isinstance(item, ToolResult))
    assert (message.hop, message.tool_calls[0].id) == (0, "c0")
    assert (result.hop, result.index, result.tool_call_id, result.content) == (0, 0, "c0", "3")
    assert model.requests[1].messages[1:] == (
        Said(text="Let me see. ", tool_calls=message.tool_calls),
        ToolMessage(tool_call_id="c0", name="add", content="3"),
    )
    assert [request.call_id for request in model.requests] == ["t:1:0", "t:1:1"]
    assert items[-1].message.hop == 1


async def test_several_calls_run_side_by_side_and_are_answered_in_order_in_the_next_request() -> None:
    meeting = asyncio.Barrier(2)

    @tool
    async def meet(who: str) -> str:
        """Wait for the other."""
        await meeting.wait()
        return who

    both = [call(0, name="meet", arguments='{"who": "a"}'), call(1, name="meet", arguments='{"who": "b"}')]
    _, model = await perform([[*both, Finish(reason="tool_calls")], says("ok")], tools=[meet])

    assert [m.content for m in model.requests[1].messages if isinstance(m, ToolMessage)] == ["a", "b"]


async def test_old_exchanges_give_way_to_large_results() -> None:
    @tool
    def read() -> str:
        """Much."""
        return "x" * 4_000

    old = (UserMessage(text="old " * 500), Said(text="older"))
    asks: list[Step] = [ToolCallDelta(index=0, id="c", name="read", arguments="{}"), Finish(reason="tool_calls")]
    _, model = await perform([asks, says("ok")], tools=[read], budget=1_200, before=old)

    assert [type(message) for message in model.requests[0].messages] == [UserMessage, Said, UserMessage]
    assert [type(message) for message in model.requests[1].messages] == [UserMessage, Said, ToolMessage]


async def test_usage_is_summed_over_the_hops() -> None:
    items, _ = await perform(
        [[*CALLS, Usage(prompt=10, completion=1)], [*says("3"), Usage(prompt=20, completion=2, reasoning=1)]]
    )

    assert items[-1].ended.usage == Usage(prompt=30, completion=3, reasoning=1)


async def test_of_more_calls_than_anybody_means_none_is_run() -> None:
    ran: list[int] = []

    @tool
    def note(number: int) -> None:
        """Note it."""
        ran.append(number)

    calls = [call(number, name="note", arguments=f'{{"number": {number}}}') for number in range(MOST_CALLS + 1)]
    items, model = await perform([[TextDelta(text="Let me see. "), *calls, Finish(reason="tool_calls")]], tools=[note])

    ended = items[-1]
    assert (ended.ended.status, ended.ended.error.code) == ("failed", "malformed")
    assert (ended.message.text, ended.message.tool_calls) == ("Let me see. ", ())
    assert (ran, len(model.requests)) == ([], 1)


async def test_at_the_hop_limit_the_viewer_is_warned_and_the_model_asked_once_more_without_tools() -> None:
    """A2.13: what is seen and what is stored are the same."""
    items, model = await perform([[*CALLS], [*CALLS], says("That is all.")], max_hops=2)

    ended = items[-1]
    assert [bool(request.tools) for request in model.requests] == [True, True, False]
    assert ended.message.text == deltas(items)
    assert ended.message.text.endswith("That is all.")
    assert "2 rounds" in ended.message.text
    assert ended.ended.finish_reason == LIMIT_REACHED
    assert ended.ended.status == "completed"


async def test_calls_made_beyond_the_hop_limit_are_not_run() -> None:
    items, _ = await perform([[*CALLS], [*CALLS]], max_hops=1)

    assert sum(isinstance(item, ToolResult) for item in items) == 1
    assert isinstance(items[-1], Ended)


async def test_a_follow_up_that_says_nothing_ends_the_turn_instead_of_repeating_the_tools() -> None:
    """A2.17."""
    items, model = await perform([[*CALLS], [EmptyReply()]])

    assert len(model.requests) == 2
    assert items[-1].ended.status == "failed"
    assert items[-1].ended.error.code == "empty_reply"
    assert items[-1].message is None


async def test_an_answer_that_breaks_off_is_kept_and_the_turn_fails() -> None:
    """A2.7."""
    items, _ = await perform([[TextDelta(text="Half an"), Truncated()]])

    assert items[-1].message.text == "Half an"
    assert items[-1].message.finish_reason == "truncated"
    assert (items[-1].ended.status, items[-1].ended.error.code) == ("failed", "truncated")


async def test_calls_of_a_reply_that_broke_off_are_not_kept() -> None:
    items, _ = await perform([[TextDelta(text="I will add"), call(arguments='{"a": 1'), Truncated()]])

    assert items[-1].message.tool_calls == ()
    assert not any(isinstance(item, ToolResult) for item in items)


async def test_a_bug_in_an_adapter_fails_the_turn_and_loses_no_text() -> None:
    items, _ = await perform([[TextDelta(text="So far"), ZeroDivisionError("no secret")]])

    assert items[-1].message.text == "So far"
    assert items[-1].ended.error.code == "internal"
    assert "secret" not in items[-1].ended.error.message


async def test_arguments_that_are_not_json_are_answered_with_an_error_that_the_model_reads() -> None:
    """A2.26e."""
    items, model = await perform([[call(arguments='{"a": 1,'), Finish(reason="tool_calls")], says("Sorry.")])

    result = next(item for item in items if isinstance(item, ToolResult))
    assert result.is_error
    assert model.requests[1].messages[-1] == ToolMessage(
        tool_call_id="c0", name="add", content=result.content, is_error=True
    )


async def test_a_call_that_never_says_its_tool_is_reported_not_dropped() -> None:
    """A2.9."""
    nameless = ToolCallDelta(index=0, id="c0", arguments="{}")
    items, model = await perform([[nameless, Finish(reason="tool_calls")], says("Sorry.")])

    result = next(item for item in items if isinstance(item, ToolResult))
    assert result.is_error
    assert "add" in result.content
    assert len(model.requests) == 2


async def test_reasoning_is_kept_apart_from_text() -> None:
    items, _ = await perform([[ReasoningDelta(text="Hm. "), *says("Yes")]])

    message = items[-1].message
    assert (message.reasoning, message.text, message.runs) == ("Hm. ", "Yes", (("reasoning", 4), ("text", 3)))


async def test_a_length_limit_is_a_completed_turn_that_says_so() -> None:
    items, _ = await perform([says("Once upon", reason="length")])

    assert (items[-1].ended.status, items[-1].ended.finish_reason) == ("completed", "length")


class Stopper:
    """Drives a turn and stops it at the first item that `when` likes."""

    def __init__(self, reason: Reason = Reason.CANCELLED) -> None:
        self.stop = Stop()
        self.reason = reason

    async def run(self, model: ScriptedModel, *, tools: Sequence[Tool], when: Any) -> list[Any]:
        items = []
        async for item in play(
            REQUEST,
            model=model,
            model_name="m",
            toolbox=Toolbox(tools),
            context=ToolContext(principal="1", conversation="c", turn="t"),
            stop=self.stop,
            max_hops=8,
            budget=100_000,
        ):
            items.append(item)
            if when(item):
                self.stop.request(self.reason)
        return items


async def test_a_stop_in_mid_text_closes_the_model_and_keeps_what_was_said() -> None:
    model = ScriptedModel([[TextDelta(text="One"), asyncio.Event()]])

    items = await Stopper().run(model, tools=[add], when=lambda item: isinstance(item, TextDelta))

    assert model.endings == ["closed"]
    assert (items[-1].message.text, items[-1].message.finish_reason) == ("One", "cancelled")
    assert (items[-1].ended.status, items[-1].ended.error) == ("cancelled", None)


async def test_a_stop_on_the_last_delta_leaves_no_call_unanswered() -> None:
    ran = []

    @tool
    def note() -> str:
        """Take a note."""
        ran.append(1)
        return "noted"

    model = ScriptedModel([[call(name="note", arguments="{}"), Finish(reason="tool_calls")]])
    items = await Stopper().run(model, tools=[note], when=lambda item: isinstance(item, Finish))

    stored = [item for item in items if isinstance(item, AssistantMessage | ToolResult)]
    calls = sum(len(item.tool_calls) for item in stored if isinstance(item, AssistantMessage))
    results = sum(isinstance(item, ToolResult) for item in stored)
    assert calls == results
    assert ran == []
    assert items[-1].ended.status == "cancelled"


async def test_a_stop_in_mid_tool_does_not_wait_for_it_and_answers_its_call() -> None:
    began, never = asyncio.Event(), asyncio.Event()

    @tool
    async def hang() -> str:
        """Never come back."""
        began.set()
        await never.wait()
        return ""

    stopper = Stopper()
    model = ScriptedModel([[call(name="hang", arguments="{}"), Finish(reason="tool_calls")]])
    running = asyncio.ensure_future(stopper.run(model, tools=[hang], when=lambda _: False))
    await began.wait()
    stopper.stop.request(Reason.CANCELLED)
    items = await running

    result = next(item for item in items if isinstance(item, ToolResult))
    assert result.is_error
    assert items[-1].ended.status == "cancelled"
    assert len(model.requests) == 1


async def test_a_turn_whose_process_ends_is_failed_as_interrupted() -> None:
    model = ScriptedModel([[TextDelta(text="One"), asyncio.Event()]])

    items = await Stopper(Reason.INTERRUPTED).run(model, tools=[], when=lambda item: isinstance(item, TextDelta))

    assert (items[-1].ended.status, items[-1].ended.error.code) == ("failed", "interrupted")
    assert items[-1].message.text == "One"


async def test_a_turn_that_is_released_while_it_is_answering_interrupted_calls_has_no_end_here() -> None:
    """R20: whoever takes it up ends it."""
    stop = Stop()
    calls = tuple(ToolCall(id=f"c{index}", name="add", arguments="{}") for index in range(2))
    asked = AssistantMessage(hop=0, tool_calls=calls)
    items = playing(ScriptedModel([]), stop=stop, progress=Progress(message=asked))

    seen = [await anext(items)]
    stop.request(Reason.RELEASED)
    seen += [item async for item in items]

    assert [item.index for item in seen if isinstance(item, ToolResult)] == [0, 1]
    assert len(seen) == 2


async def test_a_stop_that_comes_before_anything_else_asks_no_model() -> None:
    stop = Stop()
    stop.request(Reason.CANCELLED)

    items, model = await perform([says("never")], stop=stop)

    assert model.requests == []
    assert items[-1].ended.status == "cancelled"


async def test_arguments_are_shown_with_the_number_of_their_call() -> None:
    pieces = [
        ToolCallDelta(id="x", name="add"),
        ToolCallDelta(arguments='{"a": 1, "b":'),
        ToolCallDelta(arguments=" 2}"),
    ]
    items, _ = await perform([[*pieces, Finish(reason="tool_calls")], says("3")])

    shown = [item for item in items if isinstance(item, ToolCallDelta)]
    assert [item.index for item in shown] == [0, 0, 0]
    assert json.loads("".join(item.arguments for item in shown)) == {"a": 1, "b": 2}
