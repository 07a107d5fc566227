"""The frames of `streaming_chat/` as lightspeed's clients know them, and how each is written: as SSE or as plain text.

Shapes and the order of keys are those of lightspeed-stack's `POST /v1/streaming_query`, as of August 2026.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what frames carry."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all frames: `{"event": …, "data": {…}}`."""


class StartData(Data, frozen=True):
    """`request_id` is the turn's, for the interrupt; `cached`: the answer was there before it was asked for."""

    conversation_id: str
    request_id: str
    cached: Literal[True] | UnsetType = UNSET


class TokenData(Data, frozen=True, kw_only=True):
    """`id` counts the code points of the answer's text before this one: it grows, and is the same after a resume."""

    id: int
    role: str | UnsetType = UNSET
    token: str


class ToolCallData(Data, frozen=True, kw_only=True):
    """`args` is the call's JSON object, or, where the model wrote something else, its text as it is."""

    id: str
    role: str | UnsetType = UNSET
    name: str
    args: dict[str, Any] | str
    type: Literal["tool_call"] = "tool_call"


class ToolResultData(Data, frozen=True, kw_only=True):
    """`round` is 1 for the tools of the first model call, and so on."""

    id: str
    role: str | UnsetType = UNSET
    status: Literal["success", "failure"]
    content: str
    type: Literal["tool_result"] = "tool_result"
    round: int


class ReferencedDocument(Data, frozen=True):
    """Where a tool found something."""

    doc_url: str
    doc_title: str
    source: None = None
    document_id: None = None


class EndData(Data, frozen=True, kw_only=True):
    """The sources of all tools, each once, and the tokens of the whole turn."""

    referenced_documents: tuple[ReferencedDocument, ...]
    truncated: None = None
    input_tokens: int
    output_tokens: int


class ErrorData(Data, frozen=True):
    """`response` says what kind of error it is, `cause` begins with its code and then says what to do."""

    status_code: int
    response: str
    cause: str


class InterruptedData(Data, frozen=True):
    """The turn that was stopped."""

    request_id: str


class Hidden(msgspec.Struct, frozen=True):
    """Which frame an empty token stands for; nothing of what was in it."""

    event: str


class StartFrame(Frame, frozen=True, tag="start"):
    """The request was taken."""

    data: StartData


class TokenFrame(Frame, frozen=True, tag="token"):
    """A piece of the answer's text."""

    data: TokenData
    original: Hidden | UnsetType = UNSET


class ToolCallFrame(Frame, frozen=True, tag="tool_call"):
    """The model asks for a tool."""

    data: ToolCallData


class ToolResultFrame(Frame, frozen=True, tag="tool_result"):
    """A tool answered."""

    data: ToolResultData


class TurnCompleteFrame(Frame, frozen=True, tag="turn_complete"):
    """The whole text once more; its `id` is the text's length."""

    data: TokenData


class EndFrame(Frame, frozen=True, tag="end"):
    """Nothing follows."""

    data: EndData
    available_quotas: dict[str, int] = {}


class ErrorFrame(Frame, frozen=True, tag="error"):
    """The answer failed, or cannot be followed any longer. Nothing follows."""

    data: ErrorData


class InterruptedFrame(Frame, frozen=True, tag="interrupted"):
    """The turn was stopped. Nothing follows."""

    data: InterruptedData


class HeartbeatFrame(Frame, frozen=True, tag="heartbeat"):
    """A sign of life, for sites that want it as an event."""

    data: TokenData


AnyFrame: TypeAlias = (
    StartFrame
    | TokenFrame
    | ToolCallFrame
    | ToolResultFrame
    | TurnCompleteFrame
    | EndFrame
    | ErrorFrame
    | InterruptedFrame
    | HeartbeatFrame
)


class Sent(NamedTuple):
    """A frame, and the position to go on from once it is there: None leaves the client's as it is, an empty one makes
    it forget. Without a frame it is a mere sign of life."""

    frame: AnyFrame | None
    position: str | None = None


_encoder = msgspec.json.Encoder()


def as_sse(sent: Sent) -> bytes:
    """One server-sent event; data before id, because fetch-event-source takes the id as soon as it has read that line.

    The sign of life is a comment without the empty line that would make it, for fetch-event-source, an event."""
    frame, position = sent
    if frame is None:
        return b": heartbeat\n"
    data = _encoder.encode(frame)
    if position is None:
        return b"data: %b\n\n" % data
    return b"data: %b\nid: %b\n\n" % (data, position.encode()) if position else b"data: %b\nid:\n\n" % data


def as_text(sent: Sent) -> bytes:
    """What is left for those who asked for `text/plain`."""
    match sent.frame:
        case TokenFrame(data=data):
            text = data.token
        case ToolCallFrame(data=call):
            text = f"[Tool Call: {call.name}]\n"
        case ToolResultFrame():
            text = "[Tool Result]\n"
        case EndFrame(data=EndData(referenced_documents=documents)) if documents:
            text = "\n\n---\n\n" + "\n".join(f"{document.doc_title}: {document.doc_url}" for document in documents)
        case ErrorFrame(data=error):
            text = f"Status: {error.status_code} - {error.response} - {error.cause}"
        case _:
            text = ""
    return text.encode()
