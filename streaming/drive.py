"""Driving one turn: what the loop yields is shown and stored here. Nothing is awaited per token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from history import compaction
from history.calls import Call
from history.compaction import Place
from history.conf import chat_settings
from history.contents import Exchange
from history.draft import Draft
from history.errors import Fenced, NotFound
from history.events import AssistantMessage, Outcome, ToolResult, TurnError
from history.writer import Writer
from llm.types import Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from streaming.calls import MeasuredModel, with_content
from streaming.estimates import from_afar
from streaming.play import Ended, Item
from streaming.tail import Tail

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Drive:
    """One turn on its way from the loop to the viewers and the log. `feel` is called before anything is shown, and what
    `sure` gives is waited for before tools are run; see `streaming.pulse`."""

    def __init__(
        self,
        place: Place,
        *,
        hop: int,
        tail: Tail,
        writer: Writer,
        feel: Callable[[], None],
        sure: Callable[[], Awaitable[None]],
        calls: MeasuredModel,
    ) -> None:
        self.place = place
        self._tail = tail
        self._writer = writer
        self._feel = feel
        self._sure = sure
        self._calls = calls
        self._finish_reason: str | None = None
        self._untold: Call | None = None
        self._draft = self._open(hop=hop)
        self.has_ended = False

    async def run(self, items: AsyncGenerator[Item, None]) -> None:
        """Show and store every item; all of it is stored when this returns. Raises `Fenced` or `NotFound` when the turn
        is not ours any more."""
        try:
            async with aclosing(items):
                async for item in items:
                    if type(item) is TextDelta:
                        self._grow("text", item.text)
                    elif type(item) is ReasoningDelta:
                        self._grow("reasoning", item.text)
                    elif type(item) is ToolCallDelta:
                        self._feel()
                        self._draft.append_arguments(item.index or 0, item.arguments, name=item.name)
                        self._tail.wake()
                    else:
                        await self._store(item)
        except (Fenced, NotFound):
            raise
        except Exception:
            await self._write(self._writer.flush)  # what was shown is to be stored, though the turn fails
            raise
        else:
            if not self.has_ended:
                await self._write(self._writer.flush)
        finally:
            self._close()

    async def take(
        self, outcome: Outcome, *, message: AssistantMessage | None = None, error: TurnError | None = None
    ) -> Call | None:
        """The call that is to be told next, if the model was being asked: one that could not be told when it ended, or
        one that has just ended so, with this message."""
        if self._untold is None:
            call = self._untold = self._calls.take(
                outcome,
                said=self._draft.said,
                attempt=self.place.attempt,
                hop=self._draft.hop,
                finish_reason=self._finish_reason,
                error=error,
            )
            if call is not None and self._calls.asked is not None and chat_settings().completion_logs == "full":
                exchange = Exchange(self._calls.asked, message or self._draft.message(self._finish_reason))
                self._untold = await with_content(call, exchange)
        return self._untold

    def hide(self) -> None:
        """Show nothing more of the draft: the turn may be somebody else's."""
        if self._tail.draft is self._draft:
            self._tail.draft = None

    def show(self) -> None:
        """It is ours: show the draft again."""
        if self._tail.hidden:
            self._tail.draft = self._draft
            self._tail.tell()

    def _grow(self, channel: str, text: str) -> None:
        self._feel()
        self._draft.append(channel, text)  # type: ignore[arg-type]
        self._tail.wake()
        self._writer.grown(self._draft)

    async def _store(self, item: Item) -> None:
        match item:
            case AssistantMessage():
                end_hop = partial(compaction.end_hop, self.place, item, call=await self.take("completed", message=item))
                await self._write(self._compacting(end_hop))
                await self._sure()
                self._draft = self._open(hop=item.hop + 1)
            case ToolResult():
                await self._write(partial(compaction.add_result, self.place, item))
            case Ended():
                await self._end(item)
            case Usage():
                self._calls.heard(item)
            case Finish():
                self._finish_reason = item.reason

    async def _end(self, item: Ended) -> None:
        ended = item.ended
        call = await self.take(ended.status, message=item.message, error=ended.error)
        end_turn = partial(compaction.end_turn, self.place, message=item.message, ended=ended, call=call)
        await self._write(self._compacting(end_turn))
        self.has_ended = True

    def _open(self, *, hop: int) -> Draft:
        place = self.place
        draft = Draft(
            place.conversation_id,
            turn_id=place.turn_id,
            attempt=place.attempt,
            hop=hop,
            after_seq=self._tail.last,
        )
        self._finish_reason = None
        self._tail.draft, self._tail.live = draft, True
        self._tail.measure = self._calls.estimated
        self._writer.open(draft)
        return draft

    def _close(self) -> None:
        """Whatever happened: the draft is no longer this task's."""
        self._writer.close(self._draft)
        if self._tail.draft is None or self._tail.draft is self._draft:
            self._tail.draft, self._tail.live = None, False
        self._tail.measure = from_afar

    def _compacting(self, write: Callable[[], T]) -> Callable[[], T]:
        """`write`, after which no tick stores this draft any more."""
        draft = self._draft

        def compact() -> T:
            written = write()
            self._writer.close(draft)
            self._untold = None
            return written

        return compact

    async def _write(self, write: Callable[[], T]) -> T:
        """A job for the writer. A cancelled wait does not take the job back: it is the turn's end that matters."""
        return await asyncio.shield(asyncio.wrap_future(self._writer.run(write)))
