"""A made-up turn on its way: its records, its events and the frames for its viewers; plots say what happens to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from tests.torture.made_up.tally import AGENT, TITLE, Tally
from tests.torture.records import (
    AnyRecord,
    Called,
    Exited,
    Fault,
    Frame,
    Hit,
    Kept,
    Ordered,
    Owned,
    Started,
    State,
    StopAsked,
    ToolRan,
    Waited,
)

BEGINNING = 1_790_000_000.0
LEASE = 10.0
WORD = 0.1


class Conversation:
    """What is in its log and what its viewers are shown: each frame with its time and its turn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: list[tuple[float, str, Frame]] = []
        self.events: list[dict[str, Any]] = []
        self.turns: list[Turn] = []
        self.tally = Tally()
        self.state: dict[str, Any] = {}
        """What there is to show beside the log."""


class Turn:
    """One turn on its way, run by process `owner`, to be taken over by `heir`. `now` is its clock."""

    def __init__(self, number: int, conversation: Conversation, *, now: float, idempotent: bool) -> None:
        self.id, self.tag = f"turn-{number}", f"tag-{number}"
        self.conversation = conversation
        self.now = now
        self.owner, self.heir, self.last = (f"{role}{number}.1" for role in ("owner", "heir", "last"))
        self.idempotent = idempotent
        self.attempt, self.hop, self.losses = 1, 0, 0
        self.status = "completed"
        self.draft = ""
        self.untold: Called | None = None
        """The call of which the log does not tell yet."""
        self.records: list[AnyRecord] = []
        self.let_go: float | None = None
        """When its first process, told to end, closed its sockets."""
        for process in (self.owner, self.heir, self.last):
            self.records.append(Started(process=process, at=now - 30))
        self._order()

    def _order(self) -> None:
        text = f"[[{self.tag}]] Tell me, 日本 🙂."
        began = self.now
        self.event("user_message", text=text, request_id=f"r-{self.id}")
        title = self.conversation.state.get("title", text)
        self.change(title=title, status="running", model="scripted", archived=False)
        for cached in (False, True):
            order = Ordered(
                viewer="websocket-" + self.conversation.name,
                owner="1",
                request_id=f"r-{self.id}",
                transport="websocket",
                conversation=self.conversation.name,
                text=text,
                tag=self.tag,
                process=self.owner,
                began=began,
                outcome="accepted",
                turn=self.id,
                cached=cached,
                at=self.wait(0.01),
            )
            self.records.append(order)
        self.own(self.owner)

    def is_to_end(self, *ends: str) -> None:
        """Its script says so."""
        self.records = [
            replace(record, ends=ends) if isinstance(record, Ordered) else record for record in self.records
        ]

    def wait(self, seconds: float) -> float:
        """Some time passes."""
        self.now += seconds
        return self.now

    def own(self, process: str) -> None:
        """It is seen to be run there."""
        self.records.append(
            Owned(turn=self.id, attempt=self.attempt, status="running", process=process, at=self.wait(0.01))
        )

    def show(self, frame: Frame) -> None:
        """Viewers get it."""
        seq = len(self.conversation.events)
        shown = {**frame, "cursor": f"{seq}.{len(self.draft)}"}
        self.conversation.shown.append((self.now, frame.get("turn", self.id) or "", shown))

    def event(self, kind: str, **data: Any) -> None:
        """Something is in the log."""
        self._append(kind, data, turn=self.id)
        if kind in ("assistant_message", "turn_restarted", "turn_ended"):
            self.draft = ""

    def _append(self, kind: str, data: dict[str, Any], *, turn: str | None) -> None:
        self.now += 0.01
        seq = len(self.conversation.events) + 1
        self.conversation.events.append({"seq": seq, "kind": kind, "turn": turn, "data": data, "at": self.now})
        self.show({"type": "event", "seq": seq, "kind": kind, "turn": turn, "at": "", "data": data})

    def change(self, **fresh: Any) -> None:
        """Something is otherwise beside the log, and viewers of the conversation get that."""
        self.conversation.state |= fresh
        for key, value in fresh.items():
            frame = {"type": "state", "cursor": f"{len(self.conversation.events)}.0", "key": key, "value": value}
            self.conversation.shown.append((self.wait(0.01), "", frame))

    def tell(self, outcome: str = "failed") -> None:
        """The log tells of the call that has not been told, if there is one. `outcome` is of one that broke off."""
        call, self.untold = self.untold, None
        if call is None:
            return
        _, attempt, hop, _ = call.call_id.split(":")
        outcome = "completed" if call.ending == "completed" else outcome
        place = {"attempt": int(attempt), "hop": int(hop)}
        self._tell(self.id, usage_id=AGENT, words=call.fragments, outcome=outcome, **place)

    def name(self) -> None:
        """The model is asked for a title of the conversation."""
        call = Called(
            tag=self.tag,
            call_id=f"{self.id}:{TITLE}",
            began=self.wait(0.01),
            ended=self.wait(0.1),
            ending="completed",
            fragments=3,
        )
        self.records.append(call)
        self._tell(None, usage_id=TITLE, words=3, outcome="completed", attempt=None, hop=None)
        self.change(title="What it is about")

    def _tell(self, turn: str | None, **call: Any) -> None:
        for kind, data in zip(("stats", "completion_log"), self.conversation.tally.tell(turn, **call), strict=True):
            self._append(kind, data, turn=turn)

    def word(self, number: int) -> None:
        """The provider says a word, and viewers see it."""
        text = f"w{number:04d}@{int(self.wait(WORD) * 1e6)} "
        delta = {"type": "delta", "turn": self.id, "attempt": self.attempt, "hop": self.hop, "offset": len(self.draft)}
        self.draft += text
        self.now += 0.005
        self.show({**delta, "channel": "text", "text": text})

    def call(
        self,
        words: int,
        *,
        of: int | None = None,
        ending: str = "completed",
        lasts: float = 0,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """The provider says `words`, `of` so many; the draft is not ended. The call lasts a while after the last."""
        began = self.wait(0.01)
        for number in range(1, words + 1):
            if number == words:
                meanwhile()
            self.word(number)
        call = Called(
            tag=self.tag,
            call_id=f"{self.id}:{self.attempt}:{self.hop}:1",
            began=began,
            ended=self.wait(0.01) + lasts,
            ending=ending,
            fragments=words,
            text="".join(f"w{number:04d} " for number in range(1, (of or words) + 1)),
        )
        self.records.append(call)
        self.untold = call

    def message(self, *, kept: str | None = None, tools: Sequence[str] = ()) -> None:
        """The hop ends: what was said is in the log."""
        text = self.draft if kept is None else kept
        calls = [{"id": f"call-{self.hop}-{at}", "name": name, "arguments": "{}"} for at, name in enumerate(tools)]
        self.event("assistant_message", hop=self.hop, text=text, reasoning="", tool_calls=calls)
        self.tell()

    def tool(self, phase: Literal["began", "finished"], *, process: str) -> None:
        """A tool notes something."""
        note = ToolRan(
            turn=self.id,
            hop=self.hop,
            index=0,
            phase=phase,
            idempotent=self.idempotent,
            process=process,
            at=self.wait(0.05),
        )
        self.records.append(note)

    def result(self, content: str = "found", *, is_error: bool = False) -> None:
        """A tool's result is in the log, and the next hop begins."""
        result = {"hop": self.hop, "index": 0, "tool_call_id": f"call-{self.hop}-0", "name": "looks_up"}
        self.event("tool_result", **result, content=content, is_error=is_error, duration_ms=50)
        self.hop += 1

    def fault(self, kind: Literal["kill", "sigstop", "sigterm"], *, state: State, lasts: float = 0) -> float:
        """Something befalls the owner; when."""
        began = self.wait(0.01)
        self.records.append(Fault(kind=kind, target=self.owner, began=began, ended=began + lasts, at=began + lasts))
        self.records.append(Hit(fault=kind, turn=self.id, state=state, process=self.owner, at=began))
        if kind == "kill":
            self.records.append(Exited(process=self.owner, code=-9, at=began))
        return began

    def kept(self, *, words: int) -> str:
        """So many words of the draft are in the database when the process was killed."""
        text = "".join(f"{word} " for word in self.draft.split()[:words])
        self.records.append(
            Kept(turn=self.id, attempt=self.attempt, fault="kill", killed=self.now, text=text, at=self.now + 0.1)
        )
        return text

    def stop(self) -> None:
        """Somebody stops it."""
        began = self.now
        stop = StopAsked(turn=self.id, process=self.heir, began=began, outcome="accepted", at=self.wait(0.01))
        self.records.append(stop)

    def restart(self, *, after: float = LEASE, reason: str = "lost") -> None:
        """The heir takes it over."""
        self.wait(after)
        self.losses += reason == "lost"
        self.attempt += 1
        self.owner, self.heir = self.heir, self.last
        self.tell(reason)
        self.event("turn_restarted", attempt=self.attempt, hop=self.hop, reason=reason)
        self.own(self.owner)

    def end(self, status: str = "completed", *, code: str | None = None) -> None:
        """The turn is over, and whoever waited for it has the answer."""
        self.status = status
        error = {"code": code, "message": "…"} if code else None
        self.tell()
        self.event("turn_ended", status=status, error=error, **self.conversation.tally.of_turn(self.id))
        self.change(status="idle")
        said = "".join(
            event["data"]["text"]
            for event in self.conversation.events
            if (event["turn"], event["kind"]) == (self.id, "assistant_message")
        )
        body = json.dumps({"turn": self.id, "code": code} if code else {"turn": self.id, "response": said})
        for waiter in ("json-1", "json-2"):
            self.records.append(
                Waited(
                    viewer=f"{waiter}-{self.id}",
                    conversation=self.conversation.name,
                    turn=self.id,
                    process=self.heir,
                    began=self.now,
                    status=502 if code else 200,
                    body=body,
                    at=self.now + 0.01,
                )
            )
