"""The close codes of the socket; PROTOCOL.md says for each whether to come back."""

from __future__ import annotations

from enum import IntEnum


class Close(IntEnum):
    """Why the server closes a socket."""

    RESTART = 1012
    """The server restarts: reconnect at once, with the last cursor."""
    INTERNAL = 1011
    """Something went wrong on the server: reconnect with back-off, with the last cursor."""
    BAD_REQUEST = 4400
    """The cursor is not one: connect without it."""
    UNAUTHENTICATED = 4401
    """Not signed in, or not any more: sign in first."""
    NOT_FOUND = 4404
    """There is no such conversation, or it was deleted: do not come back."""


BY_CODE = {
    "invalid_cursor": Close.BAD_REQUEST,
    "unauthenticated": Close.UNAUTHENTICATED,
    "access_ended": Close.UNAUTHENTICATED,
    "not_found": Close.NOT_FOUND,
    "draining": Close.RESTART,
}
"""The close code for an error that ends the socket."""
