"""Everything that this client raises: one class per reason, found by the server's code or the close code."""

from __future__ import annotations


class VerbatimError(Exception):
    """Base of all. `code` is stable; `is_passing` tells that the same may work a little later."""

    code = "error"
    is_passing = False


class ConversationClosed(VerbatimError):
    """This conversation was closed here; attach to it again."""

    code = "closed"


class Unreachable(VerbatimError):
    """The server could not be reached, for as long as one was ready to wait."""

    code = "unreachable"
    is_passing = True


class BadFrame(VerbatimError):
    """The server sent something that is not the protocol."""

    code = "bad_frame"


class Refused(VerbatimError):
    """The server refused something. `request_id` and `turn` say what it is about, where that is known."""

    code = "refused"

    def __init__(
        self, message: str = "", *, code: str | None = None, request_id: str | None = None, turn: str | None = None
    ) -> None:
        super().__init__(message or (self.__doc__ or "").splitlines()[0])
        self.code = code or self.code
        self.request_id = request_id
        self.turn = turn


class Unauthenticated(Refused):
    """The key is not valid, or not any more. Get another one, then attach again."""

    code = "unauthenticated"


class Forbidden(Refused):
    """The key may not do that."""

    code = "forbidden"


class NotFound(Refused):
    """There is no such conversation or turn, or it was deleted."""

    code = "not_found"


class InvalidRequest(Refused):
    """What was sent has a wrong shape."""

    code = "invalid_request"


class TextTooLong(InvalidRequest):
    """The message is too long."""

    code = "text_too_long"


class UnknownModel(InvalidRequest):
    """There is no such model."""

    code = "unknown_model"


class TurnActive(Refused):
    """An answer is still being written: `turn`. Wait for it, or stop it."""

    code = "turn_active"
    is_passing = True


class RequestConflict(Refused):
    """This request id was used for another message."""

    code = "request_conflict"


class RateLimited(Refused):
    """This is as much as one may ask for now; the message says when to come back."""

    code = "rate_limited"
    is_passing = True


class Busy(Refused):
    """The server has as much to do as it can carry, or is being restarted."""

    code = "busy"
    is_passing = True


class ServerFault(Refused):
    """Something went wrong on the server."""

    code = "internal"
    is_passing = True


class TurnFailed(VerbatimError):
    """A turn has failed. `code` is why; `turn` is its id, `text` what was said until then."""

    def __init__(self, message: str, *, code: str, turn: str, text: str) -> None:
        super().__init__(message)
        self.code = code
        self.turn = turn
        self.text = text


_BY_CODE: dict[str, type[Refused]] = {
    "access_ended": Unauthenticated,
    "draining": Busy,
    "invalid_cursor": InvalidRequest,
    "invalid_frame": InvalidRequest,
    **{
        refusal.code: refusal
        for refusal in (
            Unauthenticated, Forbidden, NotFound, InvalidRequest, TextTooLong, UnknownModel, TurnActive,
            RequestConflict, RateLimited, Busy, ServerFault,
        )
    },
}  # fmt: skip
_BY_CLOSE_CODE: dict[int, type[Refused]] = {4401: Unauthenticated, 4403: Forbidden, 4404: NotFound}
_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
    503: Busy,
}


def refusal(code: str, message: str, *, request_id: str | None = None, turn: str | None = None) -> Refused:
    """The error for a code of the server's; one that is not known is a plain `Refused`."""
    return _BY_CODE.get(code, Refused)(message, code=code, request_id=request_id, turn=turn)


def final(close_code: int, *, said: Refused | None) -> Refused | None:
    """Why there is no point in coming back after this close code; None if there is. `said` is the error frame that
    came before it."""
    reason = _BY_CLOSE_CODE.get(close_code)
    if reason is None:
        return None
    return said if isinstance(said, reason) else reason()


def of_status(status: int, *, message: str) -> Refused:
    """The error for an HTTP status without a code of the server's."""
    fault = ServerFault if status >= 500 else Refused
    return _BY_STATUS.get(status, fault)(f"{message} ({status})")
