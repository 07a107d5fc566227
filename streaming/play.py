"""The turn loop: ask the model, run the tools it wants, ask again. It knows no table and no socket.

Storing, publishing and measuring wrap it from outside; stopping is its input.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec

from history.compaction import INTERRUPTED
from history.context import fit
from history.events import AssistantMessage, Source, ToolResult, TurnEnded, TurnError
from history.progress import Progress
from llm import types as voice
from llm.errors import ModelError
from llm.reply import Reply
from llm.types import ChatModel, ChatRequest, Delta, TextDelta, ToolCall, Usage, total_of
from streaming import ends
from streaming.stop import Reason, Stop, Stopped
from tools.tool import ToolContext
from tools.toolbox import ToolAnswer, Toolbox

logger = logging.getLogger(__name__)

LIMIT_REACHED = "tool_limit_reached"
TOOL_CALLS = "tool_calls"


class Ended(msgspec.Struct, frozen=True):
    """The turn's last words: the message of its last hop, if that said anything, and how it ended."""

    message: AssistantMessage | None
    ended: TurnEnded


Item: TypeAlias = Delta | AssistantMessage | ToolResult | Ended


async def play(
    request: ChatRequest,
    *,
    model: ChatModel,
    model_name: str,
    toolbox: Toolbox,
    context: ToolContext,
    stop: Stop,
    max_hops: int,
    budget: int,
    callers: frozenset[str] = frozenset(),
    progress: Progress = Progress(),  # noqa: B008
) -> AsyncGenerator[Item, None]:
    """Yield deltas as they come, each hop's message before its tools run, each result as it comes, and one `Ended`;
    none if the turn is released, to go on elsewhere.

    `budget` is what the messages of one call may have, in tokens as `history.context` estimates them; `callers` are
    tools that the caller runs, so that a call of one ends the turn; `progress` is how far the turn had come before.

    After a delta the caller must come back without waiting for anything (see `Stop.interrupts`).
    """
    hop, total = progress.hop, progress.usage
    now = Hop.begun(progress, toolbox=toolbox, model=model_name, callers=callers)
    while True:
        if now is None:
            now = Hop(hop, model=model_name, last=hop >= max_hops, callers=callers)
            if now.last:
                yield now.heard(TextDelta(text=f"*The limit of {max_hops} rounds of tools is reached.*\n\n"))
            try:
                async with stop.interrupts(), aclosing(model.stream(now.asks(request))) as deltas:
                    async for delta in deltas:
                        yield now.heard(delta)
            except Exception as failure:  # the boundary to the adapters: a bug there must not lose what was said
                now.error = _error(failure, stop=stop)
            if now.error is BROKEN_OFF and stop.reason is Reason.RELEASED:
                return
            total = total_of((total, now.reply.usage))
            if now.error is not None or not now.ours:
                yield now.ended(total)
                return
            yield now.message(now.reply.finish_reason)
        async with aclosing(_work(now, toolbox=toolbox, context=context, stop=stop, total=total)) as results:
            async for result in results:
                yield result
        if stop.is_due() or now.theirs:
            return
        messages = fit(request.messages + now.exchange(), budget=budget)
        request = msgspec.structs.replace(request, messages=messages)
        hop, now = hop + 1, None


async def _work(
    now: Hop, *, toolbox: Toolbox, context: ToolContext, stop: Stop, total: Usage | None
) -> AsyncGenerator[ToolResult | Ended, None]:
    """Run the hop's calls side by side; those that get no answer, because of a stop, or because they were interrupted
    before and may not be run twice, get one that says so. A stop ends the turn, and so does a call that the caller is
    to answer; a release leaves it to whoever goes on.
    """
    async with aclosing(toolbox.run_all(now.calls, context=context, skip=now.settled | now.theirs)) as answers:
        while (answer := await _next(answers, stop)) is not None:
            yield now.answered(answer)
    if stop.reason is Reason.RELEASED:
        return
    for index in sorted(now.ours - now.results.keys()):
        yield now.unfinished(now.calls[index], index=index)
    if stop.reason not in (None, Reason.RELEASED):
        yield Ended(None, _end(_stopped(stop), usage=total, finish_reason=None))
    elif now.theirs:
        yield Ended(None, _end(None, usage=total, finish_reason=TOOL_CALLS))


async def _next(answers: AsyncGenerator[ToolAnswer, None], stop: Stop) -> ToolAnswer | None:
    """The next answer; None if there is none left, or as soon as the turn is stopped."""
    try:
        async with stop.interrupts():
            return await anext(answers, None)
    except Stopped:
        return None


class Hop:
    """One model call of a turn and the tools it asked for."""

    def __init__(self, number: int, *, model: str, last: bool, callers: frozenset[str] = frozenset()) -> None:
        self.number = number
        self.model = model
        self.last = last
        self.callers = callers
        self.reply = Reply()
        self.error: TurnError | None = None
        self.results: dict[int, ToolResult] = {}
        self.settled: frozenset[int] = frozenset()
        """Calls that are not to be run, by number."""

    @classmethod
    def begun(cls, progress: Progress, *, toolbox: Toolbox, model: str, callers: frozenset[str]) -> Hop | None:
        """A hop that another process left in its tools, if it did. What had begun to run may have taken effect, so it
        runs again only if that does no harm."""
        if progress.message is None:
            return None
        now = cls(progress.hop, model=model, last=False, callers=callers)
        now.reply.add(TextDelta(text=progress.message.text))
        now.calls = progress.message.tool_calls
        now.results = dict(progress.results)
        once = (index for index, call in enumerate(now.calls) if not toolbox.is_idempotent(call.name))
        now.settled = frozenset((*now.results, *once))
        return now

    @cached_property
    def calls(self) -> tuple[ToolCall, ...]:
        """What is to be run; asked once the reply is complete."""
        return () if self.last else self.reply.calls()

    @cached_property
    def theirs(self) -> frozenset[int]:
        """The numbers of the calls that the caller is to answer."""
        return frozenset(index for index, call in enumerate(self.calls) if call.name in self.callers)

    @cached_property
    def ours(self) -> frozenset[int]:
        """The numbers of the calls that are to be run here."""
        return frozenset(range(len(self.calls))) - self.theirs

    def asks(self, request: ChatRequest) -> ChatRequest:
        """What the model is asked in this hop. That it must call a tool holds once, or it would call them for ever."""
        changes: dict[str, Any] = {"call_id": f"{request.call_id}:{self.number}"}
        if self.last:
            changes["tools"] = ()
        if self.number and (request.tool or request.tool_choice == "required"):
            changes |= {"tool_choice": "auto", "tool": ""}
        return msgspec.structs.replace(request, **changes)

    def heard(self, delta: Delta) -> Delta:
        """Note what the model says. A fragment of a tool call is told which call it belongs to."""
        number = self.reply.add(delta)
        return delta if number is None else msgspec.structs.replace(delta, index=number)

    def message(self, finish_reason: str | None) -> AssistantMessage:
        """What was said, as the log keeps it. Of a reply that broke off, calls are not kept: they were not made."""
        return AssistantMessage(
            hop=self.number,
            text=self.reply.text,
            reasoning=self.reply.reasoning,
            tool_calls=() if self.error else self.calls,
            finish_reason=finish_reason,
            model=self.model,
            usage=self.reply.usage,
            runs=self.reply.runs,
        )

    def ended(self, total: Usage | None) -> Ended:
        """The end of the turn, if this was its last hop."""
        finish_reason = TOOL_CALLS if self.theirs and self.error is None else self.reply.finish_reason
        if self.last and self.error is None:
            finish_reason = LIMIT_REACHED
        said = self.error.code if self.error is not None else finish_reason
        message = self.message(said) if self.reply.runs or (self.theirs and self.error is None) else None
        return Ended(message, _end(self.error, usage=total, finish_reason=finish_reason))

    def answered(self, answer: ToolAnswer) -> ToolResult:
        """Note a tool's answer."""
        return self._note(
            ToolResult(
                hop=self.number,
                index=answer.index,
                tool_call_id=answer.tool_call_id,
                name=answer.name,
                content=answer.content,
                is_error=answer.is_error,
                duration_ms=answer.duration_ms,
                sources=tuple(Source(title=source.title, url=source.url) for source in answer.sources),
            )
        )

    def unfinished(self, call: ToolCall, *, index: int) -> ToolResult:
        """Note that a call was interrupted."""
        return self._note(
            ToolResult(
                hop=self.number,
                index=index,
                tool_call_id=call.id,
                name=call.name,
                content=INTERRUPTED,
                is_error=True,
            )
        )

    def exchange(self) -> tuple[voice.Message, ...]:
        """What the model must see of this hop in the next: its message, and each call's result in order."""
        results = (self.results[index] for index in range(len(self.calls)))
        return (
            voice.AssistantMessage(text=self.reply.text, tool_calls=self.calls),
            *(
                voice.ToolMessage(
                    tool_call_id=result.tool_call_id,
                    name=result.name,
                    content=result.content,
                    is_error=result.is_error,
                )
                for result in results
            ),
        )

    def _note(self, result: ToolResult) -> ToolResult:
        self.results[result.index] = result
        return result


BROKEN_OFF = TurnError(code="cancelled", message="Stopped.")
"""Not an error, and never told: how a hop that was stopped, or released, says so."""


def _error(failure: Exception, *, stop: Stop) -> TurnError:
    """How a model call that broke off ends its hop."""
    match failure:
        case Stopped():
            return _stopped(stop)
        case ModelError():
            return TurnError(code=failure.code, message=failure.message)
    logger.error("the model's adapter failed", exc_info=failure)
    return ends.INTERNAL


def _stopped(stop: Stop) -> TurnError:
    return ends.INTERRUPTED if stop.reason is Reason.INTERRUPTED else BROKEN_OFF


def _end(error: TurnError | None, *, usage: Usage | None, finish_reason: str | None) -> TurnEnded:
    if error is BROKEN_OFF:
        return TurnEnded(status="cancelled", usage=usage, finish_reason="cancelled")
    status: Literal["completed", "failed"] = "completed" if error is None else "failed"
    return TurnEnded(status=status, error=error, usage=usage, finish_reason=finish_reason)
