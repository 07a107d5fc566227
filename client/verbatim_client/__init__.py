"""Talk to a Verbatim site from Python; README.md has examples."""

from verbatim_client.answers import Answer, TurnError
from verbatim_client.conversation import AsyncRemoteConversation
from verbatim_client.errors import (
    Busy,
    ConversationClosed,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Refused,
    RequestConflict,
    ServerFault,
    TextTooLong,
    TurnActive,
    TurnFailed,
    Unauthenticated,
    UnknownModel,
    Unreachable,
    VerbatimError,
)  # fmt: skip
from verbatim_client.frames import (
    Accepted,
    CaughtUp,
    Connected,
    Delta,
    Disconnected,
    Error,
    Estimate,
    Event,
    Frame,
    Heartbeat,
    News,
    Pong,
    Reset,
    StateChange,
    Unknown,
)  # fmt: skip
from verbatim_client.log import Call, Draft, Log, Piece
from verbatim_client.stats import Stats, Totals, Usage
from verbatim_client.sync import RemoteConversation
from verbatim_client.telling import Told, Withdrawn

__all__ = [
    "Accepted", "Answer", "AsyncRemoteConversation", "Busy", "Call", "CaughtUp", "Connected", "ConversationClosed",
    "Delta", "Disconnected", "Draft", "Error", "Estimate", "Event", "Forbidden", "Frame", "Heartbeat",
    "InvalidRequest", "Log", "News", "NotFound", "Piece", "Pong", "RateLimited", "Refused", "RemoteConversation",
    "RequestConflict", "Reset", "ServerFault", "StateChange", "Stats", "TextTooLong", "Told", "Totals", "TurnActive",
    "TurnError", "TurnFailed", "Unauthenticated", "Unknown", "UnknownModel", "Unreachable", "Usage",
    "VerbatimError", "Withdrawn",
]  # fmt: skip
