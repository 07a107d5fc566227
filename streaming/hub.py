"""The switchboard of one process: its live tails and everyone who follows them. Lives on one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from uuid import UUID

from access.errors import AccessEnded
from access.principals import Principal
from access.selectors import still_valid
from history.committed import Committed
from history.conf import chat_settings
from history.draft import Draft
from history.errors import ChatError
from history.positions import positions
from history.replay import stored_drafts
from streaming.database import in_thread
from streaming.errors import Draining
from streaming.tail import Tail

logger = logging.getLogger(__name__)


class Viewer:
    """Someone who follows a conversation: waits for changes, is due a heartbeat, may be shown the door."""

    __slots__ = ("_loop", "_poked", "_waiting", "beat_at", "principal", "refusal")

    def __init__(self, principal: Principal | None, *, loop: asyncio.AbstractEventLoop) -> None:
        self.principal = principal
        self.beat_at = loop.time() + chat_settings().heartbeat
        self._loop = loop
        self.refusal: type[ChatError] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._poked = False

    async def wait(self, change: asyncio.Future[None]) -> None:
        """Until `change`, or until `poke()`d; a poke that came while the viewer was busy counts."""
        self._waiting = change
        try:
            if not self._poked:
                await change
        finally:
            self._waiting = None
            self._poked = False

    def is_due(self) -> bool:
        """Whether a heartbeat is due; if so, the time for the next one is set."""
        if self._loop.time() < self.beat_at:
            return False
        self.beat_at = self._loop.time() + chat_settings().heartbeat
        return True

    def poke(self) -> None:
        """Look around once, whether or not anything changed."""
        self._poked = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Hub:
    """All live tails of a process, and its viewers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.viewers: set[Viewer] = set()
        self._tails: dict[UUID, Tail] = {}
        self._closing = False

    def committed(self, change: Committed) -> None:
        """The log's hook; called in any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self.loop.call_soon_threadsafe(self._publish, change)

    def _publish(self, change: Committed) -> None:
        tail = self._tails.get(change.conversation_id)
        if tail is None:
            return
        if change.gone:
            tail.gone = True
            tail.wake()
        elif change.entries:
            tail.publish(change.entries)
        elif change.last_seq is not None:
            tail.learn(change.last_seq)

    @contextmanager
    def tail(self, conversation_id: UUID) -> Iterator[Tail]:
        """The live tail of a conversation, kept as long as somebody uses it."""
        tail = self._tails.setdefault(conversation_id, Tail())
        tail.users += 1
        try:
            yield tail
        finally:
            tail.users -= 1
            if not tail.users and self._tails.get(conversation_id) is tail:
                del self._tails[conversation_id]

    @contextmanager
    def viewer(self, principal: Principal | None) -> Iterator[Viewer]:
        """Be counted as a viewer. Raises `Draining` once the process is about to end."""
        if self._closing:
            raise Draining
        viewer = Viewer(principal, loop=self.loop)
        self.viewers.add(viewer)
        try:
            yield viewer
        finally:
            self.viewers.discard(viewer)

    def close(self) -> None:
        """The process is about to end: every viewer is told to come back elsewhere."""
        self._closing = True
        self._refuse(self.viewers, Draining)

    async def keep_time(self) -> None:
        """Wake the viewers whose heartbeat is due; runs as long as the process."""
        while True:
            await asyncio.sleep(min(1.0, chat_settings().heartbeat / 4))
            now = self.loop.time()
            for viewer in self.viewers:
                if viewer.beat_at <= now:
                    viewer.poke()

    async def keep_positions(self) -> None:
        """Compare what is followed with the database, so that no lost message leaves anyone waiting for ever."""
        while True:
            await asyncio.sleep(chat_settings().position_poll)
            followed = list(self._tails)
            if followed:
                with _logged("positions"):
                    self._compare(*await in_thread(_stored, followed), asked=followed)

    def _compare(self, last: Mapping[UUID, int], drafts: Mapping[UUID, Draft], *, asked: list[UUID]) -> None:
        for conversation_id in asked:
            tail = self._tails.get(conversation_id)
            if tail is None:
                continue
            if conversation_id not in last:
                tail.gone = True
                tail.wake()
                continue
            tail.learn(last[conversation_id])
            draft = drafts.get(conversation_id)
            if draft is not None and not tail.live and (tail.draft is None or draft.length > tail.draft.length):
                tail.draft = draft
                tail.wake()

    async def keep_rights(self) -> None:
        """Check once in a while, for all viewers together, whether they may still look."""
        while True:
            await asyncio.sleep(chat_settings().recheck)
            asked = {viewer.principal for viewer in self.viewers if viewer.principal is not None}
            if asked:
                with _logged("rights"):
                    valid = await in_thread(still_valid, asked)
                    self._refuse({viewer for viewer in self.viewers if viewer.principal in asked - valid}, AccessEnded)

    def _refuse(self, viewers: set[Viewer], refusal: type[ChatError]) -> None:
        for viewer in viewers:
            viewer.refusal = refusal
            viewer.poke()


def _stored(conversation_ids: list[UUID]) -> tuple[Mapping[UUID, int], Mapping[UUID, Draft]]:
    return positions(conversation_ids), stored_drafts(conversation_ids)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """The top of a task that must go on whatever one round meets."""
    try:
        yield
    except Exception:
        logger.exception("could not compare %s with the database; trying again", what)
