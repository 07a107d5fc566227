"""The tools of a site, and how a model's calls are run: side by side, bounded, and always with an answer."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llm.types import ToolCall, ToolSpec
from tools.errors import ToolError
from tools.output import Discreet, Source, ToolOutput, as_it_is, fit, output_of
from tools.threads import DaemonThreads
from tools.tool import Tool, ToolContext

logger = logging.getLogger(__name__)

THREADS = 16
"""Sync tools of one toolbox that run at a time; further ones wait, at the cost of their own time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """The answer to call number `index` of a hop, for the model and the log. `duration_ms` is wall time."""

    index: int
    tool_call_id: str
    name: str
    content: str
    is_error: bool
    duration_ms: int
    sources: tuple[Source, ...] = ()


class Toolbox:
    """Tools by name.

    `after_sync` is called in the thread after every sync tool; it is where a site closes what its threads opened
    (Django: `connections.close_all`). What tools return, or say in a `ToolError`, is `discreet` before anybody gets it.
    """

    def __init__(
        self,
        tools: Iterable[Tool] = (),
        *,
        after_sync: Callable[[], object] | None = None,
        discreet: Discreet = as_it_is,
    ) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"Two tools are called {tool.name}")
            self._tools[tool.name] = tool
        self._after_sync = after_sync or (lambda: None)
        self._discreet = discreet
        self._threads = DaemonThreads(most=THREADS)
        self._abandoned: set[asyncio.Future[ToolOutput]] = set()

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them."""
        return tuple(tool.spec for tool in self._tools.values())

    def only(self, names: Collection[str] | None) -> Toolbox:
        """The same without the tools of other names; None: the same. They share their threads."""
        if names is None:
            return self
        fewer = copy(self)
        fewer._tools = {name: tool for name, tool in self._tools.items() if name in names}
        return fewer

    def is_idempotent(self, name: str) -> bool:
        """Whether a tool may be run again though it may have taken effect. One that is not there does no harm."""
        tool = self._tools.get(name)
        return tool is None or tool.idempotent

    async def run_all(
        self, calls: Sequence[ToolCall], *, context: ToolContext, skip: Collection[int] = ()
    ) -> AsyncGenerator[ToolAnswer, None]:
        """Run the calls of one hop side by side, but for those whose numbers are in `skip`, and yield each answer when
        it is there.

        Closing or cancelling it cancels what still runs, and waits for no thread.
        """
        tasks = [
            asyncio.create_task(self.run(call, context=context, index=index), name=f"tool {index}: {call.name}")
            for index, call in enumerate(calls)
            if index not in skip
        ]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for pending in tasks:
                pending.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self, call: ToolCall, *, context: ToolContext, index: int) -> ToolAnswer:
        """Run one call. Whatever goes wrong with the tool is an answer too: an error that the model can read."""
        started = time.monotonic()
        try:
            output = await self._output(call, context=replace(context, call_id=call.id))
            is_error = False
        except ToolError as error:
            output = ToolOutput(fit(self._discreet(str(error))))
            is_error = True
        return ToolAnswer(
            index=index,
            tool_call_id=call.id,
            name=call.name,
            content=output.content,
            is_error=is_error,
            duration_ms=round((time.monotonic() - started) * 1000),
            sources=tuple(output.sources),
        )

    async def _output(self, call: ToolCall, *, context: ToolContext) -> ToolOutput:
        """The tool's output. Everything that may go wrong is raised as a `ToolError`."""
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"There is no tool {call.name!r}. Available: {', '.join(self._tools) or 'none'}.")
        work = self._start(tool, tool.bind(call.arguments, context=context))
        try:
            done, _ = await asyncio.wait({work}, timeout=tool.timeout)
        finally:
            self._abandon(work)
        if not done:
            raise ToolError(f"{tool.name} did not answer within {tool.timeout:g} seconds and was given up.")
        return _outcome(tool, work)

    def _start(self, tool: Tool, arguments: dict[str, Any]) -> asyncio.Future[ToolOutput]:
        if tool.is_async:
            return asyncio.ensure_future(_run_async(tool, arguments, discreet=self._discreet))
        in_context = contextvars.copy_context().run
        work = partial(in_context, _run_sync, tool, arguments, after=self._after_sync, discreet=self._discreet)
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _abandon(self, work: asyncio.Future[ToolOutput]) -> None:
        """Cancel it, unless it is done, without waiting: a thread cannot be cancelled, a coroutine may refuse."""
        if not work.done():
            self._abandoned.add(work)
            work.add_done_callback(self._forget)
            work.cancel()

    def _forget(self, work: asyncio.Future[ToolOutput]) -> None:
        self._abandoned.discard(work)
        if not work.cancelled() and (error := work.exception()):
            logger.warning("A tool that had been given up failed", exc_info=error)


async def _run_async(tool: Tool, arguments: dict[str, Any], *, discreet: Discreet) -> ToolOutput:
    try:
        return output_of(await tool.function(**arguments), discreet=discreet)
    except SystemExit as error:  # out of a task it would end the process
        raise RuntimeError("The tool tried to end the process") from error


def _run_sync(tool: Tool, arguments: dict[str, Any], *, after: Callable[[], object], discreet: Discreet) -> ToolOutput:
    try:
        return output_of(tool.function(**arguments), discreet=discreet)
    except (SystemExit, StopIteration) as error:  # a future cannot bring these across
        raise RuntimeError(f"The tool raised {type(error).__name__}") from error
    finally:
        after()


def _outcome(tool: Tool, work: asyncio.Future[ToolOutput]) -> ToolOutput:
    """What finished `work` came to. The traceback of a failure is for the log, its type's name for the model."""
    try:
        return work.result()
    except ToolError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        logger.exception("Tool %s failed", tool.name)
        raise ToolError(f"{tool.name} failed with {type(error).__name__}.") from error
