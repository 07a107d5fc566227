"""Conversations are named by the model of their first answer: in a call of its own, off the way of all turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from contextvars import Context
from functools import partial
from typing import NamedTuple
from uuid import UUID

from access.limits import Payer, accounts_by_day
from access.profiles import profile_of
from history import titles
from history.calls import Call
from history.compaction import Place
from history.conf import chat_settings
from history.connections import AWAY
from history.contents import Exchange
from history.errors import ChatError, NotFound
from history.events import AssistantMessage, Outcome, TurnError
from history.titles import TITLE, Untitled
from history.writer import Writer
from llm.errors import ModelError
from llm.prices import cost
from llm.registry import Profile
from llm.types import ChatModel, ChatRequest, Sampling, SystemMessage, TextDelta, Usage, UserMessage
from streaming.calls import Asking, MeasuredModel, with_content
from streaming.database import in_order_thread, in_thread
from streaming.ends import INTERNAL
from streaming.limited import with_limits
from streaming.stop import Reason, Stop, Stopped

logger = logging.getLogger(__name__)

PROMPT = (
    "Give the conversation that follows a title of two to six words, in its own language. Say nothing but the title."
)
EXCERPT = 2_000
"""Code points of the question and of the answer that the model is shown."""
LONGEST = 80
MOST = 200
"""Tokens of the reply, for models that think before they name it."""
PATIENCE = 30.0
"""Seconds that a call for a title may take."""


class Titles:
    """Names conversations, one task each. Lives on the engine's loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, writer: Writer, models: Callable[[Profile], ChatModel]
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._models = models
        self._running: dict[asyncio.Task[None], Stop] = {}

    def begin(self, conversation_id: UUID, turn_id: UUID) -> None:
        """Name this conversation, of which that turn has been answered, unless it has been asked for before."""
        stop = Stop()
        naming = self._name(conversation_id, turn_id, stop)
        task = self._loop.create_task(naming, name="verbatim title", context=Context())
        self._running[task] = stop
        task.add_done_callback(self._running.pop)

    async def end(self, *, patience: float) -> None:
        """Break off the calls that go on, make no others, and see that this is told."""
        for stop in self._running.values():
            stop.request(Reason.RELEASED)
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=patience)

    async def _name(self, conversation_id: UUID, turn_id: UUID, stop: Stop) -> None:
        """Only the call itself is broken off by a stop: what was claimed is settled."""
        try:
            untitled = await in_order_thread(titles.claim, conversation_id, turn_id=turn_id)
            if untitled is not None:
                call, title = await self._ask(untitled, place=Place(conversation_id, turn_id, 0), stop=stop)
                settle = partial(titles.settle, conversation_id, call=call, before=untitled.title, title=title)
                await asyncio.wrap_future(self._writer.run(settle))
        except (NotFound, *AWAY):
            logger.info("conversation %s keeps the title that it has", conversation_id)
        except Exception:  # the top of a task
            logger.exception("conversation %s could not be named", conversation_id)

    async def _ask(self, untitled: Untitled, *, place: Place, stop: Stop) -> tuple[Call | None, str]:
        """The call, if one was made, and the title, if it gave one."""
        try:
            profile = profile_of(untitled.profile)
        except ChatError:
            return None, ""
        price = partial(cost, prices=profile.prices)
        measured = MeasuredModel(self._models(profile), Asking(profile.model, profile.context_window, price))
        payer = Payer(untitled.owner_id, untitled.key_id)
        model = with_limits(
            measured,
            place=place,
            payer=payer,
            accounts=await in_thread(accounts_by_day, payer),
            window=profile.context_window,
            cost=price,
            run=self._writer.run,
        )
        reply = await _reply(model, _request(untitled, place), heard=measured.heard, stop=stop)
        call = measured.take(reply.outcome, said=len(reply.said), error=reply.error)
        if call is not None and measured.asked is not None and chat_settings().completion_logs == "full":
            answer = AssistantMessage(hop=0, text=reply.said, model=profile.model)
            call = await with_content(call, Exchange(measured.asked, answer))
        return call, _title(reply.said) if reply.outcome == "completed" else ""


class Reply(NamedTuple):
    """What came of a call."""

    said: str
    outcome: Outcome = "completed"
    error: TurnError | None = None


async def _reply(model: ChatModel, request: ChatRequest, *, heard: Callable[[Usage], None], stop: Stop) -> Reply:
    """All of it; `heard` is told what it used. Whatever goes wrong, and that the process ends, is an outcome."""
    said = ""
    try:
        async with stop.interrupts(), aclosing(model.stream(request)) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    said += delta.text
                elif isinstance(delta, Usage):
                    heard(delta)
    except Stopped:
        return Reply(said, "released")
    except ModelError as failure:
        return Reply(said, "failed", TurnError(code=failure.code, message=failure.message))
    except Exception:  # the boundary to the adapters
        logger.exception("the model's adapter failed")
        return Reply(said, "failed", INTERNAL)
    return Reply(said)


def _request(untitled: Untitled, place: Place) -> ChatRequest:
    """What the model is asked."""
    excerpt = f"{untitled.question[:EXCERPT]}\n\n{untitled.answer[:EXCERPT]}"
    return ChatRequest(
        messages=(SystemMessage(text=PROMPT), UserMessage(text=excerpt)),
        sampling=Sampling(max_tokens=MOST),
        usage_id=TITLE,
        call_id=f"{place.turn_id}:{TITLE}",
        time_limit=PATIENCE,
    )


def _title(said: str) -> str:
    """The first line, without quotes around it; nothing if that is no title."""
    line = next(iter(said.strip().splitlines()), "").strip().strip("\"'“”„«».").strip()
    return line if len(line) <= LONGEST else ""
