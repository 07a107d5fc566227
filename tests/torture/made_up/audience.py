"""Whole made-up histories: conversations of several turns, those who look at them over all transports, are cut off and
come back, and the rows in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from tests.torture.history import History
from tests.torture.made_up.plots import Plot
from tests.torture.made_up.story import BEGINNING, Conversation, Turn
from tests.torture.records import (
    AnyRecord,
    Connected,
    ConversationRow,
    Disconnected,
    EventRow,
    Frame,
    FreshRead,
    Quiescent,
    Received,
    Started,
    StateRow,
    Transport,
    TurnRow,
)

BESIDE = "viewers.1"
"""A process that only has viewers."""
BEAT = 15.0


class Told(NamedTuple):
    """A turn to be told: its plot, whether its tool is idempotent, and after how many frames viewers are cut off."""

    plot: Plot
    idempotent: bool = True
    cuts: tuple[int, ...] = ()


def history(*conversations: Sequence[Told]) -> History:
    """All these conversations at the same time."""
    told = [_tell(number, turns) for number, turns in enumerate(conversations)]
    quiet = max(turn.now for conversation, _ in told for turn in conversation.turns) + 1
    seen: list[AnyRecord] = [Started(process=BESIDE, at=BEGINNING)]
    for conversation, cuts in told:
        seen += [record for turn in conversation.turns for record in turn.records]
        seen += _audience(conversation, cuts=cuts, until=quiet)
    rows: list[AnyRecord] = [row for conversation, _ in told for row in _rows(conversation)]
    ordered = [*sorted(seen, key=lambda record: record.at), Quiescent(), *rows]
    return History(replace(record, n=n, at=record.at or quiet) for n, record in enumerate(ordered, 1))


def _tell(number: int, turns: Sequence[Told]) -> tuple[Conversation, set[int]]:
    """A conversation, and after which frames its viewers are cut off."""
    conversation = Conversation(f"conversation-{number}")
    now, cuts = BEGINNING + 60 + number / 10, set()
    for at, told in enumerate(turns):
        turn = Turn(number * 100 + at, conversation, now=now, idempotent=told.idempotent)
        cuts |= {len(conversation.shown) + cut for cut in told.cuts}
        conversation.turns.append(turn)
        told.plot(turn)
        now = turn.now + 1
    return conversation, cuts


def _rows(conversation: Conversation) -> Iterator[AnyRecord]:
    name, frames = conversation.name, [frame for _, _, frame in conversation.shown if frame["type"] == "event"]
    yield ConversationRow(id=name, owner="1", last_seq=len(frames))
    for turn in conversation.turns:
        yield TurnRow(
            id=turn.id,
            conversation=name,
            owner="1",
            request_id=f"r-{turn.id}",
            status=turn.status,
            attempt=turn.attempt,
            losses=turn.losses,
        )
    for event in conversation.events:
        yield EventRow(
            conversation=name,
            seq=event["seq"],
            kind=event["kind"],
            turn=event["turn"],
            data=event["data"],
            stored=event["at"],
        )
    caught_up = {"type": "caught_up", "cursor": f"{len(frames)}.0"}
    state = [{**caught_up, "type": "state", "key": key, "value": value} for key, value in conversation.state.items()]
    yield StateRow(conversation=name, **conversation.state)
    yield FreshRead(conversation=name, process=BESIDE, frames=[*frames, *state, caught_up])


def _audience(conversation: Conversation, *, cuts: set[int], until: float) -> Iterator[AnyRecord]:
    shown = [(at, frame) for at, _, frame in conversation.shown]
    yield from _Watching("websocket", conversation, until=until).watch(shown, cuts=cuts)
    yield from _Watching("sse", conversation, until=until).watch(shown, cuts={cut + 1 for cut in cuts})
    for turn in conversation.turns:
        mine = [(at, frame) for at, of_turn, frame in conversation.shown if of_turn == turn.id]
        yield from _Watching("sse", conversation, turn=turn.id, until=turn.now).watch(mine, cuts=cuts)
        chat = _Appending("streaming_chat", conversation, turn=turn.id, until=turn.now)
        yield from chat.append(mine, let_go=turn.let_go)
        if not any(frame.get("kind") == "turn_restarted" for _, frame in mine):
            yield from _Appending("text", conversation, turn=turn.id, until=turn.now).append(mine)
        if turn.let_go is not None:
            yield from _let_go(turn)


def _let_go(turn: Turn) -> Iterator[AnyRecord]:
    """Somebody whose socket was at the process that was told to end, and who does not come back."""
    name, process = f"socket-{turn.id}", f"owner{turn.id.removeprefix('turn-')}.1"
    opened = Connected(
        viewer=name, transport="websocket", conversation=turn.conversation.name, process=process, cursor="", at=0.0
    )
    assert turn.let_go is not None
    yield replace(opened, at=turn.let_go - 0.05)
    yield Disconnected(viewer=name, how="closed", code=1012, at=turn.let_go)
    yield replace(opened, process=BESIDE, at=turn.let_go + 0.1)
    yield Disconnected(viewer=name, how="left", at=turn.let_go + 0.2)


class _Watching:
    """Somebody who reads along natively."""

    def __init__(
        self, transport: Transport, conversation: Conversation, *, until: float, turn: str | None = None
    ) -> None:
        self.name = f"{transport}-{turn or conversation.name}"
        self.opened = Connected(
            viewer=self.name, transport=transport, conversation=conversation.name, process=BESIDE, turn=turn
        )
        self.until = until
        self.cursor = ""
        self.heard = 0.0

    def watch(self, shown: list[tuple[float, Frame]], *, cuts: set[int]) -> Iterator[AnyRecord]:
        """All frames, with a new connection after each cut."""
        yield from self.connect(shown[0][0] - 0.02)
        for number, (at, frame) in enumerate(shown):
            if number in cuts and number:
                yield from self.beat(at - 0.005)
                yield Disconnected(viewer=self.name, how="cut", at=at - 0.004)
                yield from self.connect(at - 0.003)
            yield from self.beat(at)
            yield self.receive(frame, at=at)
        yield from self.beat(self.until)
        if self.opened.turn is not None:
            yield Disconnected(viewer=self.name, how="closed", at=self.until + 0.01)

    def connect(self, at: float) -> Iterator[AnyRecord]:
        """Let in, and told that what follows is live."""
        self.heard = at
        yield replace(self.opened, cursor=self.cursor, at=at)
        if self.opened.transport in ("websocket", "sse"):
            yield self.receive({"type": "caught_up", "cursor": self.cursor or "0.0"}, at=at + 0.001)

    def beat(self, until: float) -> Iterator[AnyRecord]:
        """Signs of life up to then."""
        while until - self.heard > BEAT:
            self.heard += BEAT
            yield self.receive({"type": "comment"}, at=self.heard)

    def receive(self, frame: Frame, *, at: float) -> Received:
        """A frame, whose cursor is taken."""
        self.cursor = frame.get("cursor", self.cursor)
        return Received(viewer=self.name, frame=frame, at=at)


class _Appending(_Watching):
    """Somebody who can only append, and asks again when told to."""

    def append(self, shown: list[tuple[float, Frame]], *, let_go: float | None = None) -> Iterator[AnyRecord]:
        """In lightspeed's words, or as plain text; cut off in good order when a process ends at `let_go`."""
        settled, draft = "", ""
        yield from self.connect(shown[0][0] - 0.02)
        for at, frame in shown:
            yield from self.beat(at)
            if let_go is not None and at > let_go:
                yield from self.go_on(at=let_go)
                let_go = None
            kind = str(frame.get("kind") or frame["type"])
            if kind == "delta":
                yield self.token(settled + draft, frame["text"], at=at)
                draft += frame["text"]
            elif kind in ("reset", "turn_restarted"):
                if draft:
                    yield from self.ask_again(settled, at=at)
                draft = ""
            elif kind == "assistant_message":
                rest = frame["data"]["text"][len(draft) :]
                if rest:
                    yield self.token(settled + draft, rest, at=at)
                settled, draft = settled + frame["data"]["text"], ""
            for name, data in self.marks(kind, frame.get("data", {}), settled):
                yield self.say(name, data, at=at)
        yield Disconnected(viewer=self.name, how="closed", at=self.until + 0.01)

    def ask_again(self, settled: str, *, at: float) -> Iterator[AnyRecord]:
        """The end of what was withdrawn, and the same answer from its beginning."""
        yield self.say("error", {"cause": "answer_restarted: …"}, at=at)
        yield Disconnected(viewer=self.name, how="closed", at=at + 0.001)
        self.cursor = ""
        yield from self.connect(at + 0.002)
        if settled:
            yield self.token("", settled, at=at + 0.003)

    def go_on(self, *, at: float) -> Iterator[AnyRecord]:
        """The process ends; another one has the rest."""
        yield self.receive({"event": "error", "data": {"cause": "draining: …"}}, at=at)
        yield Disconnected(viewer=self.name, how="closed", at=at + 0.001)
        yield from self.connect(at + 0.002)

    def token(self, before: str, text: str, *, at: float) -> Received:
        """A piece of text."""
        return self.say("token", {"id": len(before), "token": text}, at=at)

    def marks(self, kind: str, data: dict[str, Any], settled: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What else there is to say of an event."""
        for call in data.get("tool_calls", ()):
            yield "tool_call", {"name": call["name"], "line": f"[Tool Call: {call['name']}]\n"}
        if kind == "tool_result":
            yield "tool_result", {"line": "[Tool Result]\n"}
        match data.get("status"):
            case "completed":
                yield "turn_complete", {"token": settled}
                yield "end", {}
            case "cancelled":
                yield "interrupted", {}
            case "failed":
                code = data["error"]["code"]
                yield "error", {"cause": f"{code}: …", "line": f"Status: 502 - … - {code}: …"}

    def say(self, name: str, data: dict[str, Any], *, at: float) -> Received:
        """An event, or what stands for it in plain text."""
        if self.opened.transport == "text":
            piece = data["token"] if name == "token" else data.get("line", "")
            return self.receive({"text": piece}, at=at)
        self.cursor = f"{self.opened.turn}:{at}"
        return replace(self.receive({"event": name, "data": data}, at=at), id=self.cursor)
