"""Every frame of the native protocol, one class and one tag each; PROTOCOL.md is generated from here."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of what the server sends. Clients ignore frames and fields they do not know."""


class Accepted(Frame, frozen=True, tag="accepted"):
    """Your `send` is stored. `cached`: this request id had been answered before; its events are in the log."""

    request_id: str
    turn: str
    cursor: str
    cached: bool = False


class Event(Frame, frozen=True, tag="event"):
    """A durable entry of the log. `data` depends on `kind`; `at` is ISO 8601, UTC."""

    seq: int
    cursor: str
    kind: str
    turn: str | None
    at: str
    data: dict[str, Any]


class Delta(Frame, frozen=True, gc=False, tag="delta"):
    """A fragment of the reply in progress, `offset` code points into the draft of hop `hop`.

    For `tool_arguments`, `index` says which call and `offset` counts within that call; `name` is the tool's, as soon
    as it is known.
    """

    cursor: str
    turn: str
    attempt: int
    hop: int
    offset: int
    channel: Literal["text", "reasoning", "tool_arguments"]
    text: str
    index: int | None = None
    name: str | None = None


class Reset(Frame, frozen=True, tag="reset"):
    """Forget everything after this cursor: it was withdrawn, and what holds follows."""

    cursor: str


class Estimate(Frame, frozen=True, tag="estimate"):
    """About what the model call in progress has used so far; not stored, at most once a second. A token is taken to be
    four characters. `prompt`, `cost` and `elapsed_ms` are known only to the process in which the turn runs. What holds
    is the next `stats` event."""

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


class State(Frame, frozen=True, tag="state"):
    """Something else that a viewer shows; not in the log. `key` now has this value. All keys come before `caught_up`,
    and from then on those that change."""

    cursor: str
    key: str
    value: Any


class CaughtUp(Frame, frozen=True, tag="caught_up"):
    """You have everything that was there when you came; what follows is live."""

    cursor: str


class Heartbeat(Frame, frozen=True, tag="heartbeat"):
    """Sent every 15 seconds (a setting), so that silence is not mistaken for death. `at` is ISO 8601, UTC."""

    cursor: str
    at: str


class Error(Frame, frozen=True, tag="error"):
    """Something you sent was refused, or the stream cannot go on; the codes are a table in PROTOCOL.md."""

    code: str
    message: str
    request_id: str | None = None
    turn: str | None = None


class Pong(Frame, frozen=True, tag="pong"):
    """The answer to `ping`."""


ServerFrame: TypeAlias = Accepted | Event | Delta | Reset | Estimate | State | CaughtUp | Heartbeat | Error | Pong


class ClientFrame(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="type"
):
    """Base of what a client may send. Unknown fields are refused."""


class Send(ClientFrame, frozen=True, tag="send"):
    """Start a turn. `replaces` names a turn to retry, regenerate or edit; then `text` may be left out, and the old
    message is asked again. `model` is a profile's name."""

    request_id: str
    text: str | None = None
    model: str | None = None
    replaces: str | None = None


class Stop(ClientFrame, frozen=True, tag="stop"):
    """Stop a turn. What was said so far is kept."""

    turn: str


class Ping(ClientFrame, frozen=True, tag="ping"):
    """Ask for a `pong`: the way to find a dead connection from a browser."""


AnyClientFrame: TypeAlias = Send | Stop | Ping

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyClientFrame] = msgspec.json.Decoder(AnyClientFrame)


def encode(frame: ServerFrame) -> str:
    """A frame as JSON text."""
    return _encoder.encode(frame).decode()


def decode(text: str | bytes) -> AnyClientFrame:
    """A client's frame. Raises `msgspec.DecodeError` with a message that says what is wrong and where."""
    return _decoder.decode(text)
