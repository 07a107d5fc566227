"""Running calls: every one is answered, whatever the tool does, and nobody waits for a thread."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from llm.types import ToolCall
from tools import toolbox as toolbox_module
from tools.errors import ToolError
from tools.output import LIMIT, Source, ToolOutput
from tools.tool import Tool, ToolContext, tool
from tools.toolbox import ToolAnswer, Toolbox

CONTEXT = ToolContext(principal="7", conversation="c", turn="t")
PATIENCE = 10
"""Seconds after which a test that hangs fails."""


def call(name: str, arguments: str = "{}", *, call_id: str = "call_1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


async def answer(*tools: Tool, arguments: str = "{}", name: str | None = None) -> ToolAnswer:
    async with asyncio.timeout(PATIENCE):
        return await Toolbox(tools).run(call(name or tools[0].name, arguments), context=CONTEXT, index=0)


@tool
async def echo(text: str) -> str:
    """Say it again."""
    return text


@tool
async def broken() -> str:
    """Never work."""
    raise ConnectionError("password=hunter2")


async def test_an_answer_tells_which_call_it_belongs_to() -> None:
    answered = await Toolbox([echo]).run(call("echo", '{"text": "hi"}', call_id="x"), context=CONTEXT, index=3)

    assert (answered.index, answered.tool_call_id, answered.name) == (3, "x", "echo")
    assert (answered.content, answered.is_error) == ("hi", False)
    assert answered.duration_ms >= 0


async def test_malformed_arguments_are_an_error_result_and_run_nothing() -> None:
    """A2.26e: they must not run the tool with no arguments instead."""
    ran = []

    @tool
    async def harmless(text: str = "") -> str:
        """Record."""
        ran.append(text)
        return "ran"

    answered = await answer(harmless, arguments='{"text": "br')

    assert answered.is_error
    assert "Invalid JSON" in answered.content
    assert ran == []


async def test_tools_of_a_hop_run_side_by_side() -> None:
    """A2.26f: each of these waits for the other; one after the other they would never end."""
    barrier = asyncio.Barrier(2)

    @tool
    async def meet() -> str:
        """Wait for the other one."""
        await barrier.wait()
        return "met"

    async with asyncio.timeout(PATIENCE):
        answers = [item async for item in Toolbox([meet]).run_all([call("meet"), call("meet")], context=CONTEXT)]

    assert sorted(item.index for item in answers) == [0, 1]
    assert [item.content for item in answers] == ["met", "met"]


async def test_a_hanging_tool_is_given_up_at_its_time_out() -> None:
    """A2.26f."""

    @tool(timeout=0.01)
    async def hang() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "never"

    answered = await answer(hang)

    assert answered.is_error
    assert answered.content == "hang did not answer within 0.01 seconds and was given up."


async def test_an_exception_reaches_the_log_and_not_the_model(caplog: pytest.LogCaptureFixture) -> None:
    """A2.26f."""
    answered = await answer(broken)

    assert answered.is_error
    assert answered.content == "broken failed with ConnectionError."
    assert "hunter2" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_unknown_tool_is_told_which_there_are() -> None:
    answered = await answer(echo, broken, name="search")

    assert answered.is_error
    assert answered.content == "There is no tool 'search'. Available: echo, broken."


async def test_a_tool_can_say_why_it_has_no_result() -> None:
    @tool
    def lookup(key: str) -> str:
        """Look up."""
        raise ToolError(f"No entry for {key}\0.")

    answered = await answer(lookup, arguments='{"key": "x"}')

    assert (answered.content, answered.is_error) == ("No entry for x\ufffd.", True)


@pytest.mark.parametrize("error", [SystemExit, StopIteration, TimeoutError, asyncio.CancelledError, RecursionError])
@pytest.mark.parametrize("in_thread", [True, False])
async def test_no_exception_of_a_tool_escapes(error: type[BaseException], *, in_thread: bool) -> None:
    def fail() -> str:
        """Fail."""
        raise error

    async def fail_async() -> str:
        """Fail."""
        raise error

    answered = await answer(tool(name="fail")(fail if in_thread else fail_async))

    assert answered.is_error
    assert answered.content.startswith("fail failed with ")


async def test_sync_tools_run_in_threads_with_the_callers_context() -> None:
    language = contextvars.ContextVar("language", default="none")
    language.set("nb")

    @tool
    def where() -> str:
        """Tell where it runs."""
        return f"{threading.current_thread().name} {language.get()}"

    answered = await answer(where)

    assert answered.content == "tool-1 nb"
    assert threading.main_thread().name not in answered.content


async def test_what_a_thread_opened_is_closed_in_that_thread() -> None:
    threads = []

    @tool
    def work() -> None:
        """Open something, and fail."""
        threads.append(threading.current_thread())
        raise OSError

    box = Toolbox([work], after_sync=lambda: threads.append(threading.current_thread()))
    await box.run(call("work"), context=CONTEXT, index=0)

    assert len(threads) == 2
    assert threads[0] is threads[1]


@pytest.fixture
def latch() -> Iterator[threading.Event]:
    """Holds threads until the test is over."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_hanging_thread_is_given_up_at_its_time_out(latch: threading.Event) -> None:
    @tool(timeout=0.01)
    def hang() -> None:
        """Hang."""
        latch.wait(PATIENCE)

    answered = await answer(hang)

    assert answered.content == "hang did not answer within 0.01 seconds and was given up."
    assert not latch.is_set()


async def test_a_stopped_run_does_not_wait_for_threads(latch: threading.Event) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool
    def hang() -> None:
        """Hang."""
        loop.call_soon_threadsafe(started.set)
        latch.wait(PATIENCE)

    run = asyncio.create_task(Toolbox([hang]).run(call("hang"), context=CONTEXT, index=0))
    await started.wait()
    run.cancel()
    done, _ = await asyncio.wait({run}, timeout=PATIENCE)

    assert done == {run}
    assert run.cancelled()
    assert not latch.is_set()


async def test_at_most_so_many_threads_run_and_the_rest_wait(
    latch: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox_module, "THREADS", 2)
    names = set()
    both = threading.Barrier(2)

    @tool
    def work() -> None:
        """Work."""
        names.add(threading.current_thread().name)
        both.wait(PATIENCE)

    async with asyncio.timeout(PATIENCE):
        calls = [call("work")] * 6
        answers = [item async for item in Toolbox([work]).run_all(calls, context=CONTEXT)]

    assert len(answers) == 6
    assert not any(item.is_error for item in answers)
    assert names == {"tool-1", "tool-2"}


async def test_answers_come_as_they_finish_and_closing_cancels_the_rest() -> None:
    cancelled = asyncio.Event()

    @tool
    async def slow() -> None:
        """Never end."""
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with asyncio.timeout(PATIENCE):
        calls = [call("slow"), call("echo", '{"text": "first"}')]
        async with aclosing(Toolbox([slow, echo]).run_all(calls, context=CONTEXT)) as answers:
            first = await anext(answers)
        await cancelled.wait()

    assert (first.index, first.content) == (1, "first")
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_cancelling_who_waits_for_answers_cancels_the_tools() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @tool
    async def slow() -> None:
        """Never end."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def hop() -> None:
        async for _ in Toolbox([slow]).run_all([call("slow")], context=CONTEXT):
            pass

    async with asyncio.timeout(PATIENCE):
        task = asyncio.create_task(hop())
        await started.wait()
        task.cancel()
        await asyncio.wait({task})
        await cancelled.wait()

    assert task.cancelled()


async def test_a_tool_that_refuses_to_be_cancelled_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stubborn = asyncio.Event()

    @tool(timeout=0.01)
    async def refuse() -> None:
        """Swallow the cancellation."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await stubborn.wait()
            raise OSError("late") from None

    box = Toolbox([refuse])
    async with asyncio.timeout(PATIENCE):
        answered = await box.run(call("refuse"), context=CONTEXT, index=0)
        (left,) = box._abandoned
        stubborn.set()
        await asyncio.wait({left})
        await asyncio.sleep(0)

    assert answered.is_error
    assert "A tool that had been given up failed" in caplog.text
    assert box._abandoned == set()


async def test_the_context_names_the_call() -> None:
    @tool
    def which(context: ToolContext) -> list[str]:
        """Tell."""
        return [context.principal, context.call_id]

    answered = await answer(which)

    assert json.loads(answered.content) == ["7", "call_1"]


@pytest.mark.parametrize(
    ("returned", "content"),
    [
        ("text", "text"),
        ({"naïve": [1, None, True]}, '{"naïve": [1, null, true]}'),
        (None, "null"),
        (3, "3"),
        ("a\0b\ud800c", "a\ufffdb\ufffdc"),
        ("\ud83d\ude00", "\U0001f600"),
        ({"half": "\ud83d"}, '{"half": "\ufffd"}'),
    ],
)
async def test_a_result_becomes_text_that_can_be_stored(returned: object, content: str) -> None:
    @tool
    async def give() -> object:
        """Give."""
        return returned

    answered = await answer(give)

    assert (answered.content, answered.is_error) == (content, False)


@pytest.mark.parametrize("returned", [object(), b"\xff", weakref.WeakSet(), threading.Lock()])
async def test_a_result_that_json_cannot_say_is_an_error(returned: object) -> None:
    @tool
    async def give() -> object:
        """Give."""
        return returned

    answered = await answer(give)

    assert answered.is_error
    assert answered.content.startswith("give failed with ")


@pytest.mark.parametrize("character", ["a", "é", "€", "\U0001f600"])
async def test_a_huge_result_is_cut_between_characters_with_a_note(character: str) -> None:
    @tool
    def give() -> str:
        """Give."""
        return "x" + character * 10_000_000

    answered = await answer(give)

    text, _, note = answered.content.rpartition("\n")
    assert set(text[1:]) == {character}
    assert LIMIT - 4 < len(text.encode()) <= LIMIT
    assert note == f"[cut: {1 + 10_000_000 * len(character.encode())} bytes, of which {LIMIT} are shown]"


async def test_a_result_of_exactly_the_limit_is_whole() -> None:
    @tool
    def give() -> str:
        """Give."""
        return "x" * LIMIT

    answered = await answer(give)

    assert answered.content == "x" * LIMIT


async def test_sources_come_along() -> None:
    @tool
    async def give() -> ToolOutput:
        """Give."""
        return ToolOutput({"found": 1}, sources=[Source(title="Docs\0", url="https://example.org/")])

    answered = await answer(give)

    assert answered.content == '{"found": 1}'
    assert answered.sources == (Source(title="Docs\ufffd", url="https://example.org/"),)


def test_two_tools_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="Two tools are called echo"):
        Toolbox([echo, echo])


def test_the_toolbox_shows_its_tools() -> None:
    box = Toolbox([echo, broken])

    assert [spec.name for spec in box.specs()] == ["echo", "broken"]


async def test_a_toolbox_without_some_tools_neither_shows_nor_runs_them() -> None:
    toolbox = Toolbox([echo, broken])

    fewer = toolbox.only(("echo", "nope"))
    refused = await fewer.run(call("broken"), context=CONTEXT, index=0)

    assert [spec.name for spec in fewer.specs()] == ["echo"]
    assert refused.content == "There is no tool 'broken'. Available: echo."
    assert toolbox.only(None) is toolbox
    assert len(toolbox.specs()) == 2


async def test_no_calls_no_answers() -> None:
    answers: AsyncIterator[ToolAnswer] = Toolbox().run_all([], context=CONTEXT)

    assert [item async for item in answers] == []
