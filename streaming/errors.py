"""What the engine refuses: a name, a stable code and one sentence each. PROTOCOL.md lists them all."""

from __future__ import annotations

from history.errors import ChatError


class InvalidCursor(ChatError):
    """This is not a cursor. Connect again without one to get the whole conversation."""

    code = "invalid_cursor"


class InvalidRequest(ChatError):
    """This request has a wrong shape."""

    code = "invalid_request"


class TextTooLong(ChatError):
    """The message is too long."""

    code = "text_too_long"


class RequestConflict(ChatError):
    """This request id was used for another message. Use a new one."""

    code = "request_conflict"


class TurnActive(ChatError):
    """An answer is still being written. Wait for it, or stop it."""

    code = "turn_active"

    def __init__(self, turn_id: str) -> None:
        super().__init__()
        self.turn_id = turn_id

    @property
    def message(self) -> str:
        return str(type(self).__doc__)


class StillRunning(TurnActive):
    """The answer takes longer than a request may wait. It goes on; send the same request again for it."""

    code = "still_running"


class Busy(ChatError):
    """The server has as many answers in progress as it can carry. Please try again in a few seconds."""

    code = "busy"


class Draining(ChatError):
    """The server is restarting. Please try again in a few seconds."""

    code = "draining"
