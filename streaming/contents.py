"""The contents of completion logs, for viewers who have asked for them and may read them."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from uuid import UUID

import msgspec

from access.contents import content_for
from access.principals import Principal
from history.connections import AWAY
from history.events import Kind
from streaming.database import patiently
from streaming.errors import Busy
from streaming.follow import Showing
from streaming.frames import Event


async def with_contents(frames: Showing, *, conversation_id: UUID, principal: Principal) -> Showing:
    """These frames; each event about a call has its content, if that was kept. Raises `Forbidden` once the principal
    may not read it any more, and `Busy` when the database is away for too long."""
    async with aclosing(frames):
        async for frame in frames:
            if isinstance(frame, Event) and frame.kind == Kind.COMPLETION_LOG and frame.data.get("has_content"):
                read = partial(content_for, principal, conversation_id, seq=frame.seq)
                try:
                    content = await patiently(read)
                except AWAY as error:
                    raise Busy from error
                frame = msgspec.structs.replace(frame, data={**frame.data, "content": content})
            yield frame
