"""Following a conversation: the only way out of the log, for every transport.

The live position is taken first and the database read second, so that nothing falls between; wherever the tail has a
gap the viewer goes back to the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias
from uuid import UUID

from access.principals import Principal
from history import replay
from history.conf import chat_settings
from history.connections import AWAY
from history.errors import NotFound
from streaming.cursor import Cursor
from streaming.database import PAUSE, patiently
from streaming.errors import Busy
from streaming.frames import CaughtUp, Delta, Estimate, Event, Heartbeat, Reset, State
from streaming.hub import Hub
from streaming.tail import Tail
from streaming.view import View, wire_time
from streaming.viewer import Viewer

PAGE = 500
START = Cursor()

Followed = Delta | Event | Reset | CaughtUp | Heartbeat
Frames: TypeAlias = AsyncGenerator[Followed, None]
"""What there is to follow of a turn; of a conversation there is more."""
Shown = Followed | Estimate | State
Showing: TypeAlias = AsyncGenerator[Shown, None]


async def follow(
    conversation_id: UUID,
    *,
    hub: Hub,
    after: Cursor = START,
    principal: Principal | None = None,
    log_only: bool = False,
) -> Showing:
    """Every frame past `after`: what was missed, `caught_up`, then live, until the caller closes it. With `log_only`
    without what is beside the log.

    Raises `NotFound` when the conversation is gone, `AccessEnded` when `principal` may no longer look, `Draining` when
    the process ends, `Busy` when the database is away for too long. Whoever folds the frames has what a fresh read has.
    """
    view = View(after, log_only=log_only)
    with hub.tail(conversation_id) as tail, hub.viewer(principal, tail=tail) as viewer:
        patience = Patience(hub, viewer)
        async for frame in _catch_up(view, tail, viewer, conversation_id):
            yield frame
        while True:
            viewer.looks()
            go_on(viewer, tail)
            if not tail.covers(view.seq):
                async for frame in _catch_up(view, tail, viewer, conversation_id):
                    yield frame
                continue  # however long that took, the tail may be further by now
            for frame in _live(view, tail):
                yield frame
            if view.seq != tail.last or view.lags(tail.draft):
                continue
            for frame in _asides(view, tail, viewer, patience):
                yield frame
            await viewer.wait()
            while frames := grown(view, tail, viewer):
                for frame in frames:
                    yield frame
                await viewer.wait()


def go_on(viewer: Viewer, tail: Tail) -> None:
    """Raise what ends the following, if anything does."""
    if viewer.refusal is not None:
        raise viewer.refusal
    if tail.gone:
        raise NotFound


class Patience:
    """How long a viewer that is ahead of the draft waits before what it saw is withdrawn."""

    def __init__(self, hub: Hub, viewer: Viewer) -> None:
        self._loop = hub.loop
        self._viewer = viewer
        self._at: Cursor | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def is_over(self, view: View) -> bool:
        """Asked while the viewer is ahead; at a new position the clock starts, and wakes the viewer when it ends."""
        if self._at != view.cursor:
            self._at = view.cursor
            self._until = self._loop.time() + chat_settings().missing_draft
        if self._timer is not None:
            self._timer.cancel()
        if self._loop.time() >= self._until:
            return True
        self._timer = self._loop.call_at(self._until, self._viewer.wake)  # anew each time: uvloop's may be early
        return False


async def _catch_up(view: View, tail: Tail, viewer: Viewer, conversation_id: UUID) -> Showing:
    """Bring the view to where the tail begins, from the database."""
    while True:
        known = tail.state
        asked = {"with_stats": view.lacks_stats, "with_state": view.lacks_state(known)}
        read = partial(replay.missed, conversation_id, after=view.seq, limit=PAGE, **asked)
        reading = asyncio.ensure_future(patiently(read))
        try:
            while not reading.done():
                go_on(viewer, tail)
                await asyncio.wait({reading}, timeout=min(viewer.until_beat(), PAUSE))
                if viewer.is_due():  # a database that is away is no reason for silence
                    yield beat(view)
            found = reading.result()
        except AWAY as error:
            raise Busy from error
        finally:
            reading.cancel()
        if view.seq > found.page.last_seq:
            yield view.restart()
            continue
        for frame in view.page(found.page):
            yield frame
        if view.seq >= found.page.last_seq or not found.page.entries:
            break
    for told in view.snapshot(found.stats):
        yield told
    tail.join(view.seq, draft=found.draft, state=found.state)
    view.beside = found.state or known


def _asides(view: View, tail: Tail, viewer: Viewer, patience: Patience) -> Iterator[Shown]:
    """What is not in the log: that a draft is withdrawn, that the viewer has everything, what a call has used so far,
    that the connection lives."""
    if view.offset and not tail.hidden and not view.follows(tail.draft) and patience.is_over(view):
        viewer.wake()  # there may be another draft: look again before waiting
        yield view.withdraw()
        return
    yield from view.states(tail.state)
    if not view.caught_up:
        view.caught_up = True
        yield CaughtUp(cursor=str(view.cursor))
    if view.lacks(tail.estimated):
        yield view.estimate(tail.estimated)
    if viewer.is_due():
        yield beat(view)


def beat(view: View) -> Heartbeat:
    """A sign of life."""
    return Heartbeat(cursor=str(view.cursor), at=wire_time(datetime.now(UTC)))


def grown(view: View, tail: Tail, viewer: Viewer) -> list[Delta]:
    """What the draft has grown by, if that is all that has happened: the shortest way, which nearly every token takes.
    Nothing, if there may be more to look at."""
    draft = tail.draft
    if draft is None or viewer.told or draft is not view.followed or view.seq != tail.last:
        return []
    viewer.looks()
    frames = view.draft(draft)
    if view.lags(draft):
        viewer.wake()  # there is more: look again before waiting
    return frames


def _live(view: View, tail: Tail) -> Iterator[Shown]:
    """What the tail has past the view: the events, then, if none came meanwhile, the draft that follows them."""
    for entry in tail.after(view.seq):
        yield from view.event(entry)
    draft = tail.draft
    if draft is not None and view.seq == tail.last and view.follows(draft):
        yield from view.draft(draft)
