"""One turn in lightspeed's words: a fold over the turn's frames, from its beginning, that says what to send; pure.

For whoever comes back the turn is folded from its beginning all the same, so that `turn_complete` and the ids of tokens
are what they would have been; only what is already there is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, assert_never
from uuid import UUID

import msgspec
from msgspec import UNSET

from chat.lightspeed import errors
from chat.lightspeed import frames as wire
from chat.lightspeed.frames import AnyFrame, Sent
from history import events
from llm.types import ToolCall, Usage
from streaming.cursor import Cursor, parse
from streaming.follow import Followed
from streaming.frames import CaughtUp, Delta, Event, Heartbeat, Reset

STILL_THERE = Sent(None)


class _Withdrawn(Exception):
    """The client has what does not hold any more, and can only append."""


class Style(NamedTuple):
    """What sites may choose: a `role` in the data of an event, by the event's name; whether tools are shown; whether a
    sign of life is an event."""

    roles: Mapping[str, str] = {}
    tools: bool = True
    heartbeat_events: bool = False


class Answer:
    """One turn on its way to one client, who can only append.

    A position is a cursor; a client that is cut between two frames of one event has the draft before it and so many of
    its frames, which are counted behind the draft's code points.
    """

    def __init__(
        self,
        turn_id: UUID,
        *,
        conversation_id: UUID,
        begin: Cursor,
        resume: Cursor | None = None,
        cached: bool = False,
        style: Style = Style(),  # noqa: B008
    ) -> None:
        """`begin` is just before the turn's events; a client that comes back has everything up to `resume`."""
        self.over = False
        self._turn = str(turn_id)
        self._style = style
        self._start = wire.StartData(
            conversation_id=str(conversation_id), request_id=self._turn, cached=True if cached else UNSET
        )
        self._begin = begin
        self._resumes = resume is not None
        self._after, self._have = resume or begin
        self._seq = begin.seq
        self._folded = 0
        self._texts: list[str] = []
        self._length = 0
        self._documents: dict[str, wire.ReferencedDocument] = {}

    def opened(self) -> list[Sent]:
        """What comes before everything else: the start, or, for who has that, something that brings the headers on
        their way, which daphne sends with the first of the body."""
        return [STILL_THERE] if self._resumes else [self._at(wire.StartFrame(data=self._start), str(self._begin))]

    def take(self, frame: Followed) -> list[Sent]:
        """What to send because of this frame. `over` tells whether it was the last."""
        try:
            return list(self._taken(frame))
        except _Withdrawn:
            self.over = True
            return [Sent(wire.ErrorFrame(data=errors.RESTARTED), "")]

    def _taken(self, frame: Followed) -> Iterator[Sent]:
        match frame:
            case Delta(channel="tool_arguments") | CaughtUp():
                pass
            case Delta():
                yield from self._say(frame.offset, frame.channel, frame.text)
            case Event():
                yield from self._happen(frame)
            case Reset():
                self._forget(parse(frame.cursor))
            case Heartbeat():
                beat = wire.HeartbeatFrame(data=self._token("heartbeat", "heartbeat"))
                yield Sent(beat) if self._style.heartbeat_events else STILL_THERE
            case _:
                assert_never(frame)

    def _happen(self, event: Event) -> Iterator[Sent]:
        shape = events.DATA.get(event.kind)
        data = None if shape is None else msgspec.convert(event.data, shape)
        self._seq = event.seq - 1
        match data:
            case events.AssistantMessage():
                yield from self._message(event, data)
            case events.ToolResult():
                yield from self._frames(event, [self._result(data)], known=int(self._has(event)))
            case events.TurnRestarted():
                self._known(event, frames=0)
                self._forget(Cursor(self._seq))
                self._settle(event)
            case events.TurnEnded():
                if self._after > event.seq:
                    raise _Withdrawn  # the log has become shorter
                ending = self._ending(data)
                yield from self._frames(event, ending, known=self._known(event, frames=len(ending)))
                self.over = True
        self._seq = event.seq

    def _say(self, offset: int, channel: str, text: str) -> Iterator[Sent]:
        """Something from the draft. What does not follow on what is folded, the hop's message will bring."""
        if self._seq < self._after or offset != self._folded:
            return
        self._folded += len(text)
        if channel != "text":
            return
        known = min(max(self._have - offset, 0), len(text))
        self._length += known
        if known < len(text):
            token = wire.TokenFrame(data=self._token("token", text[known:]))
            self._length += len(text) - known
            yield self._at(token, f"{self._seq}.{self._folded}")

    def _message(self, event: Event, message: events.AssistantMessage) -> Iterator[Sent]:
        """The draft has become a message: what of it was not seen yet, then its calls."""
        runs = tuple(message.stretches())
        length = sum(len(text) for _, _, text in runs)
        known = self._known(event, frames=len(message.tool_calls), length=length)
        for offset, channel, text in runs:
            seen = min(max(self._folded - offset, 0), len(text))
            yield from self._say(offset + seen, channel, text[seen:])
        self._texts.append(message.text)
        self._settle(event)
        calls = [self._call(call) for call in message.tool_calls]
        yield from self._frames(event, calls, known=known, length=length)

    def _frames(self, event: Event, frames: Sequence[AnyFrame], *, known: int, length: int = 0) -> Iterator[Sent]:
        """The event's own frames but for the first, which the client has."""
        for number, frame in enumerate(frames[known:], known + 1):
            last = number == len(frames)
            yield self._at(frame, event.cursor if last else f"{self._seq}.{length + number}")

    def _has(self, event: Event) -> bool:
        """Whether the client has all of it."""
        return event.seq <= self._after

    def _known(self, event: Event, *, frames: int, length: int = 0) -> int:
        """How many of its `frames` the client has, of an event that ends a draft of `length` code points."""
        if self._has(event):
            return frames
        known = max(self._have - length, 0)
        if known and known >= frames:
            raise _Withdrawn
        return known

    def _settle(self, event: Event) -> None:
        """A draft ended: from here on another one is counted."""
        self._folded = 0
        self._length = sum(map(len, self._texts))
        if not self._has(event):
            self._have = 0

    def _forget(self, upto: Cursor) -> None:
        """The draft was withdrawn: harmless as long as the client has nothing of it."""
        settled = sum(map(len, self._texts))
        if upto.seq < self._seq or self._length > settled:
            raise _Withdrawn
        self._folded = 0

    def _ending(self, ended: events.TurnEnded) -> list[AnyFrame]:
        match ended.status:
            case "completed":
                usage = ended.usage or Usage()
                end = wire.EndData(
                    referenced_documents=tuple(self._documents.values()),
                    input_tokens=usage.prompt,
                    output_tokens=usage.completion,
                )
                whole = self._token("turn_complete", "".join(self._texts))
                return [wire.TurnCompleteFrame(data=whole), wire.EndFrame(data=end)]
            case "cancelled":
                return [wire.InterruptedFrame(data=wire.InterruptedData(request_id=self._turn))]
            case "failed":
                return [wire.ErrorFrame(data=errors.of_turn(ended.error))]
            case _:
                assert_never(ended.status)

    def _call(self, call: ToolCall) -> AnyFrame:
        if not self._style.tools:
            return self._hidden("tool_call")
        return wire.ToolCallFrame(
            data=wire.ToolCallData(
                id=call.id, role=self._role("tool_call"), name=call.name, args=_arguments(call.arguments)
            )
        )

    def _result(self, result: events.ToolResult) -> AnyFrame:
        for source in result.sources:
            self._documents.setdefault(source.url, wire.ReferencedDocument(doc_url=source.url, doc_title=source.title))
        if not self._style.tools:
            return self._hidden("tool_result")
        return wire.ToolResultFrame(
            data=wire.ToolResultData(
                id=result.tool_call_id,
                role=self._role("tool_result"),
                status="failure" if result.is_error else "success",
                content=result.content,
                round=result.hop + 1,
            )
        )

    def _hidden(self, event: str) -> AnyFrame:
        """In the place of a tool's frame: the stream stays alive, and tells nothing."""
        return wire.TokenFrame(data=self._token("token", ""), original=wire.Hidden(event))

    def _token(self, event: str, text: str) -> wire.TokenData:
        return wire.TokenData(id=self._length, role=self._role(event), token=text)

    def _role(self, event: str) -> Any:
        return self._style.roles.get(event, UNSET)

    def _at(self, frame: AnyFrame, cursor: str) -> Sent:
        return Sent(frame, f"{self._turn}:{cursor}")


def _arguments(text: str) -> dict[str, Any] | str:
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):  # not JSON, or nested deeper than can be read
        return text
    return arguments if isinstance(arguments, dict) else text
