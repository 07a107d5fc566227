"""What a conversation tells: the frames of the native protocol, one class and one tag each, and news of the line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from verbatim_client.errors import BadFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """Base of everything that listeners are told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Connected(News):
    """The line to the server stands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disconnected(News):
    """The line is lost. It is tried again after `retry_in` seconds, from where it broke."""

    reason: str
    retry_in: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame(News):
    """Base of what the server sends."""

    type: ClassVar[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted(Frame):
    """A message is stored, and has a turn. `cached`: this request id had been answered before."""

    type = "accepted"
    request_id: str
    turn: str
    cursor: str
    cached: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Event(Frame):
    """A durable entry of the log. `data` depends on `kind`; `at` is ISO 8601, UTC."""

    type = "event"
    seq: int
    cursor: str
    kind: str
    turn: str | None
    at: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta(Frame):
    """A fragment of the reply in progress, `offset` code points into the draft of hop `hop`.

    `channel` is `text`, `reasoning` or `tool_arguments`. For the last, `index` says which call and `offset` counts
    within that call; what was still coming when a connection broke comes again from 0, or not at all.
    """

    type = "delta"
    cursor: str
    turn: str
    attempt: int
    hop: int
    offset: int
    channel: str
    text: str
    index: int | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset(Frame):
    """Everything after this cursor was withdrawn, and what holds follows."""

    type = "reset"
    cursor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CaughtUp(Frame):
    """All that was there when the line was made has come; what follows is live."""

    type = "caught_up"
    cursor: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat(Frame):
    """The server lives."""

    type = "heartbeat"
    cursor: str
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate(Frame):
    """What the model call in progress has used by now, guessed; it holds until the next `stats` event, or the turn's
    end. `cost` is in US dollars; what is not known is None."""

    type = "estimate"
    cursor: str
    turn: str
    attempt: int
    hop: int
    completion: int
    usage_id: str | None = None
    prompt: int | None = None
    cost: str | None = None
    elapsed_ms: int | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateChange(Frame):
    """Something else than the log has changed: title, status, model, archived. All come when a line is made."""

    type = "state"
    cursor: str
    key: str
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Error(Frame):
    """Something that was sent was refused, or the stream cannot go on."""

    type = "error"
    code: str
    message: str
    request_id: str | None = None
    turn: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pong(Frame):
    """The answer to `ping`."""

    type = "pong"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown(Frame):
    """A frame of a newer server than this client; it changes nothing here."""

    type = ""
    data: dict[str, Any] = field(default_factory=dict)


FRAMES: tuple[type[Frame], ...] = (
    Accepted, Event, Delta, Reset, CaughtUp, Heartbeat, Estimate, StateChange, Error, Pong,
)  # fmt: skip
_FIELDS = {frame.type: (frame, tuple(part.name for part in fields(frame))) for frame in FRAMES}


def parse(text: str | bytes) -> Frame:
    """The frame that `text` is; fields that are not known are ignored. Raises `BadFrame`."""
    try:
        value = json.loads(text)
        frame, names = _FIELDS.get(value["type"], (None, ()))
        if frame is None:
            return Unknown(data=value)
        return frame(**{name: value[name] for name in names if name in value})
    except (ValueError, TypeError, KeyError) as error:
        raise BadFrame(f"the server sent what is no frame: {error!r}") from error
