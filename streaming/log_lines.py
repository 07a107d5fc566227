"""What the lines of the process's log are about: ids that whoever formats them finds in `structlog.contextvars`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from uuid import UUID, uuid4

from structlog.contextvars import bound_contextvars

HEADER = b"x-request-id"
_ID = re.compile(rb"[\w.:-]{1,128}", re.ASCII)


def about(conversation_id: UUID, turn_id: UUID | None) -> AbstractContextManager[None]:
    """Lines in this block are about that turn."""
    return bound_contextvars(conversation=str(conversation_id), turn=str(turn_id))


def about_request(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[None]:
    """Lines in this block are about a request: the one that its `X-Request-ID` names, or one of a new name."""
    said = next((value for name, value in headers if name == HEADER), b"")
    return bound_contextvars(request=said.decode() if _ID.fullmatch(said) else uuid4().hex)
