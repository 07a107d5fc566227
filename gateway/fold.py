"""One turn in OpenAI's words: a fold over its frames, from its beginning, that says what to send; pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from gateway.chunks import HEARTBEAT, ChunkWriter, calls_of, finish_reason_of
from gateway.errors import CANCELLED, RESTARTED, TurnFailed
from history import events
from history.events import DATA
from streaming import ends
from streaming.cursor import parse
from streaming.follow import Followed
from streaming.frames import CaughtUp, Delta, Event, Heartbeat, Reset


class Telling:
    """One turn on its way to one client, who can only append. `over` tells whether all was said."""

    def __init__(self, turn_id: UUID, *, model: str, with_usage: bool, callers: Collection[str] = frozenset()) -> None:
        """`callers` are the names of the caller's own tools, whose calls it gets to see."""
        self.over = False
        self._turn_id = turn_id
        self._model = model
        self._with_usage = with_usage
        self._callers = callers
        self._has_called = False
        self._chunks: ChunkWriter | None = None
        self._has_begun = False
        self._seq = 0
        self._folded = 0
        """Code points of the draft in progress that were sent."""

    def take(self, frame: Followed) -> bytes:
        """What to send because of this frame. Raises `TurnFailed` at the end of a turn without an answer, and when what
        was sent does not hold any more."""
        match frame:
            case Delta(channel="tool_arguments") | CaughtUp():
                return b""
            case Delta():
                return self._say(frame.offset, frame.channel, frame.text)
            case Event():
                said = self._happen(frame)
                self._seq = frame.seq
                return said
            case Reset():
                self._forget(withdrawn=parse(frame.cursor).seq < self._seq)
                return b""
            case Heartbeat():
                return HEARTBEAT
            case _:
                assert_never(frame)

    def _happen(self, event: Event) -> bytes:
        shape = DATA.get(event.kind)
        match None if shape is None else msgspec.convert(event.data, shape):
            case events.UserMessage():
                asked_at = datetime.fromisoformat(event.at)
                self._chunks = ChunkWriter(
                    self._turn_id, asked_at=asked_at, model=self._model, with_usage=self._with_usage
                )
            case events.AssistantMessage() as message:
                return self._message(message)
            case events.TurnRestarted():
                self._forget()
            case events.TurnEnded() as ended:
                return self._end(ended)
        return b""

    def _say(self, offset: int, channel: str, text: str) -> bytes:
        """Something from the draft. What does not follow on what was sent, the hop's message will bring."""
        if offset != self._folded or not text:
            return b""
        self._folded += len(text)
        chunks = self._writer()
        said = chunks.text(text) if channel == "text" else chunks.reasoning(text)
        return self._begun(said)

    def _message(self, message: events.AssistantMessage) -> bytes:
        """The draft has become a message: what of it was not sent yet, then the calls that are the caller's."""
        said = b""
        for offset, channel, text in message.stretches():
            seen = min(max(self._folded - offset, 0), len(text))
            said += self._say(offset + seen, channel, text[seen:])
        self._folded = 0
        if calls := calls_of(message, callers=self._callers):
            self._has_called = True
            said += self._begun(self._writer().calls(calls))
        return said

    def _end(self, ended: events.TurnEnded) -> bytes:
        match ended.status:
            case "completed":
                self.over = True
                reason = finish_reason_of(ended.finish_reason, has_called=self._has_called)
                return self._begun(self._writer().end(reason, usage=ended.usage))
            case "cancelled":
                raise TurnFailed(CANCELLED)
            case "failed":
                raise TurnFailed(ended.error or ends.INTERNAL)
            case _:
                assert_never(ended.status)

    def _forget(self, *, withdrawn: bool = False) -> None:
        """The draft was withdrawn: harmless as long as nothing of it was sent."""
        if withdrawn or self._folded:
            raise TurnFailed(RESTARTED)

    def _begun(self, said: bytes) -> bytes:
        """Before the first chunk comes the one with the role."""
        if self._has_begun:
            return said
        self._has_begun = True
        return self._writer().role() + said

    def _writer(self) -> ChunkWriter:
        assert self._chunks is not None, "a turn begins with its message"
        return self._chunks
