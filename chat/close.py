"""The close codes of the socket: an API, each with what it means and whether to come back."""

from __future__ import annotations

from enum import IntEnum


class Close(IntEnum):
    """Why the server closes a socket."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Close:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    INTERNAL = 1011, "Something went wrong on the server. Reconnect with back-off, from the last cursor."
    RESTART = 1012, "The server restarts. Reconnect at once, from the last cursor."
    BAD_REQUEST = 4400, "The cursor, or what else the address asks for, is not one. Connect without it."
    UNAUTHENTICATED = 4401, "Not signed in, or not any more. Sign in, then connect from the last cursor."
    FORBIDDEN = 4403, "This API key may not read. Do not come back with it."
    NOT_FOUND = 4404, "There is no such conversation, or it was deleted. Do not come back."


BY_CODE = {
    "invalid_cursor": Close.BAD_REQUEST,
    "invalid_request": Close.BAD_REQUEST,
    "unauthenticated": Close.UNAUTHENTICATED,
    "access_ended": Close.UNAUTHENTICATED,
    "forbidden": Close.FORBIDDEN,
    "not_found": Close.NOT_FOUND,
    "draining": Close.RESTART,
    "busy": Close.INTERNAL,
}
"""The close code for an error that ends the socket. In answer to a frame, only `access_ended` does."""
