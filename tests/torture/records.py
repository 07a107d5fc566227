"""The records of a history, one class and one tag each; `history.py` says when which is written."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Frame: TypeAlias = dict[str, Any]
Native: TypeAlias = Literal["websocket", "sse"]
AppendOnly: TypeAlias = Literal["streaming_chat", "text"]
Transport: TypeAlias = Literal["websocket", "sse", "streaming_chat", "text"]
FaultKind: TypeAlias = Literal[
    "kill",
    "sigterm",
    "sigint",
    "sigstop",
    "partition",
    "cut",
    "redis_restart",
    "redis_flushall",
    "redis_pause",
    "redis_gone",
    "postgres_restart",
    "postgres_pause",
    "provider",
    "lock",
]
State: TypeAlias = Literal[
    "queued", "mid_text", "mid_tool", "between_hops", "compacting", "stopping", "taken_over", "ended"
]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all. `n` and `at` are filled in by the recorder."""

    n: int = 0
    at: float = 0.0


class Started(Record, frozen=True, tag="started"):
    """A process is ready. `server` is what kind it is: daphne, uvicorn, housekeeping."""

    process: str
    server: str = ""


class Exited(Record, frozen=True, tag="exited"):
    """A process is gone."""

    process: str
    code: int | None = None


class Asking(Record, frozen=True, tag="asking"):
    """Somebody wants something: a turn, or the whole answer of the turn `turn`. From now on they are owed one, or a
    refusal."""

    viewer: str
    turn: str | None = None


class Ordered(Record, frozen=True, tag="ordered"):
    """An order of `viewer`: `at` is when its answer came. `code` is the code of the refusal, `status` that of HTTP.

    `transport` is how it was sent: `websocket`, `streaming_chat`, `text`, `json`. Equal `text` is an equal body. `ends`
    are the ends that are right for its turn if nothing befalls that: `completed`, or `failed/` and the error's code.
    """

    viewer: str
    owner: str
    request_id: str | None
    transport: str
    conversation: str
    text: str
    tag: str
    process: str
    began: float
    outcome: Literal["accepted", "refused", "lost"]
    turn: str | None = None
    cached: bool = False
    code: str | None = None
    status: int | None = None
    ends: tuple[str, ...] = ("completed",)


class Connected(Record, frozen=True, tag="connected"):
    """A viewer was let in."""

    viewer: str
    transport: Transport
    conversation: str
    process: str
    turn: str | None = None
    cursor: str = ""


class Received(Record, frozen=True, tag="received"):
    """A frame came."""

    viewer: str
    frame: Frame
    id: str | None = None


class Disconnected(Record, frozen=True, tag="disconnected"):
    """A connection is over. `left`: the viewer went for good; `cut`: it or the nemesis broke it; `closed`: the server
    closed it in good order (`code`: of the WebSocket); `lost`: it broke, `reason` says how."""

    viewer: str
    how: Literal["left", "cut", "closed", "lost"]
    code: int | None = None
    reason: str = ""


class ClientLog(Record, frozen=True, tag="client_log"):
    """What the Python client has of a conversation when it leaves, or when all is quiet: its events in order, the draft
    and, by turn, what it has told of the answers that have ended; the newest `stats`, and the `state` by key."""

    viewer: str
    conversation: str
    events: list[dict[str, Any]]
    draft: list[tuple[str, str]]
    told: dict[str, str]
    left: bool
    stats: dict[str, Any]
    state: dict[str, Any]


class Waited(Record, frozen=True, tag="waited"):
    """A whole answer as JSON, or why there is none yet. `body` is as it came."""

    viewer: str
    conversation: str
    turn: str | None
    process: str
    began: float
    status: int
    body: str


class StopAsked(Record, frozen=True, tag="stop_asked"):
    """A stop: `at` is when it was acknowledged."""

    turn: str
    process: str
    began: float
    outcome: Literal["accepted", "refused", "lost"]
    code: str | None = None


class Owned(Record, frozen=True, tag="owned"):
    """The process that runs a turn; null while nobody does, or while the runner cannot tell who it is."""

    turn: str
    attempt: int
    status: str
    process: str | None = None


class Fault(Record, frozen=True, tag="fault"):
    """What the nemesis did. `target` is a process, `redis`, `postgres`, a viewer, or the turn or conversation whose row
    was locked; a partition is between `target` and `peer`, and `provider` means that a process lost its connections to
    the provider. A signal is an instant: `ended` equals `began`. Null: for good."""

    kind: FaultKind
    target: str
    began: float
    ended: float | None = None
    peer: str = ""


class Starved(Record, frozen=True, tag="starved"):
    """The machine was busy with something else: of the time since `began`, who waited longest for it did so for that
    many seconds."""

    began: float
    seconds: float


class Hit(Record, frozen=True, tag="hit"):
    """The fault met this turn in this state."""

    fault: FaultKind
    turn: str
    state: State
    process: str = ""


class Kept(Record, frozen=True, tag="kept"):
    """The stored draft (channel text) of a turn whose process was killed at `killed`, or, when it had been told to end,
    gave the turn away then."""

    turn: str
    attempt: int
    fault: Literal["kill", "sigterm"]
    killed: float
    text: str


class Called(Record, frozen=True, tag="called"):
    """A request to the provider. `call_id` is the product's `turn:attempt:hop:try`, as its header says. `fragments`
    counts what was said. `ending` is the provider's word: `completed`, `closed by client`, `status 500`, `reset` …
    `text` is what its script says in full (channel text), without the stamps of words; null: not known."""

    tag: str
    call_id: str
    began: float
    ended: float | None
    ending: str
    fragments: int
    text: str | None = None


class ToolRan(Record, frozen=True, tag="tool_ran"):
    """A tool began or finished; `at` is when it says so itself."""

    turn: str
    hop: int
    index: int
    phase: Literal["began", "finished"]
    idempotent: bool
    process: str


class Logged(Record, frozen=True, tag="logged"):
    """A line in the log of a server, at the level of errors; `cause` is how the traceback below it ends."""

    process: str
    line: str
    cause: str = ""


class Quiescent(Record, frozen=True, tag="quiescent"):
    """All is quiet; what comes after this record is the state at the end."""


class ConversationRow(Record, frozen=True, tag="conversation_row"):
    """A conversation."""

    id: str
    owner: str
    last_seq: int


class TurnRow(Record, frozen=True, tag="turn_row"):
    """A turn."""

    id: str
    conversation: str
    owner: str
    request_id: str | None
    status: str
    attempt: int
    losses: int = 0
    engine: str | None = None


class EventRow(Record, frozen=True, tag="event_row"):
    """An entry of the log; `stored` is its time in the database, in seconds since the epoch."""

    conversation: str
    seq: int
    kind: str
    turn: str | None
    data: dict[str, Any]
    stored: float


class StateRow(Record, frozen=True, tag="state_row"):
    """What is to be shown of a conversation beside its log."""

    conversation: str
    title: str
    status: str
    model: str
    archived: bool

    @property
    def shown(self) -> dict[str, Any]:
        """Value by key."""
        return {"title": self.title, "status": self.status, "model": self.model, "archived": self.archived}


class BatchRow(Record, frozen=True, tag="batch_row"):
    """A delta batch that is left."""

    turn: str
    attempt: int
    hop: int
    start: int
    text: str


class FreshRead(Record, frozen=True, tag="fresh_read"):
    """What a new viewer of a conversation is shown on this process."""

    conversation: str
    process: str
    frames: list[Frame]


AnyRecord: TypeAlias = (
    Started
    | Exited
    | Asking
    | Ordered
    | Connected
    | Received
    | Disconnected
    | Waited
    | StopAsked
    | Owned
    | Fault
    | Starved
    | Hit
    | Kept
    | Called
    | ToolRan
    | Logged
    | Quiescent
    | ConversationRow
    | TurnRow
    | EventRow
    | StateRow
    | BatchRow
    | FreshRead
    | ClientLog
)
