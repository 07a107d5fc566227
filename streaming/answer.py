"""One turn's answer: its frames as they come, or just its end."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from uuid import UUID

from access.principals import Principal
from history import status
from history.connections import AWAY
from history.events import Kind
from streaming.cursor import Cursor
from streaming.database import patiently
from streaming.errors import Busy
from streaming.follow import Frames, follow, go_on
from streaming.frames import Delta, Estimate, Event, State
from streaming.hub import Hub


async def follow_turn(
    turn_id: UUID, *, conversation_id: UUID, hub: Hub, after: Cursor, principal: Principal | None = None
) -> Frames:
    """What `follow` has of one turn, up to and with its end. `after` lies before that; raises what `follow` raises."""
    mine = str(turn_id)
    showing = follow(conversation_id, hub=hub, after=after, principal=principal, log_only=True)
    async with aclosing(showing) as frames:
        async for frame in frames:
            if isinstance(frame, Estimate | State) or (isinstance(frame, Event | Delta) and frame.turn != mine):
                continue
            yield frame
            if isinstance(frame, Event) and frame.kind == Kind.TURN_ENDED:
                return


async def until_ended(turn_id: UUID, *, conversation_id: UUID, hub: Hub, principal: Principal | None = None) -> None:
    """Wait for a turn's end: without a thread, a query of its own or a wake-up per token, wherever it runs. Raises what
    `follow` raises."""
    seen = -1
    with hub.tail(conversation_id) as tail, hub.viewer(principal, tail=tail, drafts=False) as viewer:
        while True:
            viewer.looks()
            go_on(viewer, tail)
            if tail.last != seen:
                last = tail.last
                if tail.covers(seen):
                    fresh = tail.after(seen)
                    ended = any(entry.turn_id == turn_id and entry.kind == Kind.TURN_ENDED for entry in fresh)
                else:
                    ended = await _has_ended(turn_id)
                if ended:
                    return
                seen = last
            await viewer.wait()


async def _has_ended(turn_id: UUID) -> bool:
    try:
        return await patiently(partial(status.has_ended, turn_id))
    except AWAY as error:
        raise Busy from error
