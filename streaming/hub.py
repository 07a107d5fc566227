"""The switchboard of one process: its live tails and everyone who follows them. Lives on one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from uuid import UUID

from access.errors import AccessEnded
from access.principals import Principal
from access.selectors import still_valid
from history.committed import Committed
from history.conf import chat_settings
from history.errors import ChatError
from history.positions import positions
from streaming import metrics
from streaming.database import in_thread
from streaming.doorbell import Ring
from streaming.errors import Draining
from streaming.estimates import EVERY
from streaming.states import States
from streaming.tail import Tail
from streaming.viewer import Viewer
from streaming.watch import Watch

logger = logging.getLogger(__name__)

LATE = 5.0
"""Seconds after a change of rights in which they are looked at again and again: a request that came before it, with
rights that were good, may begin to follow only after it."""
AGAIN = 1.0
"""Seconds between those looks."""


class Hub:
    """All live tails of a process, and its viewers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.viewers: set[Viewer] = set()
        self._tails: dict[UUID, Tail] = {}
        self.watch = Watch(self._tails)
        self.states = States(self._tails)
        self._closing = False
        self._suspected = asyncio.Event()

    def committed(self, change: Committed) -> None:
        """The log's hook; called in any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self.loop.call_soon_threadsafe(self._publish, change)

    def _publish(self, change: Committed) -> None:
        tail = self._tails.get(change.conversation_id)
        if tail is None:
            return
        self.states.hear([change.conversation_id])
        if change.gone:
            tail.vanish()
        elif change.entries:
            tail.publish(change.entries)
        elif change.last_seq is not None:
            tail.learn(change.last_seq)

    def hear(self, ring: Ring) -> None:
        """Another process has something new."""
        for text, last_seq in ring.events.items():
            conversation_id = UUID(text)
            tail = self._tails.get(conversation_id)
            if tail is not None and not 0 < last_seq <= tail.last:
                self.watch.hear([conversation_id])
        self.watch.hear(map(UUID, ring.drafts))
        self.states.hear(map(UUID, ring.events))

    @contextmanager
    def tail(self, conversation_id: UUID) -> Iterator[Tail]:
        """The live tail of a conversation, kept as long as somebody uses it."""
        tail = self._tails.get(conversation_id)
        if tail is None:
            tail = self._tails[conversation_id] = Tail(conversation_id)
            self.watch.add(conversation_id)
        tail.users += 1
        try:
            yield tail
        finally:
            tail.users -= 1
            if not tail.users and self._tails.get(conversation_id) is tail:
                del self._tails[conversation_id]

    @contextmanager
    def viewer(self, principal: Principal | None, *, tail: Tail, drafts: bool = True) -> Iterator[Viewer]:
        """Be a viewer of a tail, or, without `drafts`, one that only events wake. Raises `Draining` once the process
        is about to end."""
        if self._closing:
            raise Draining
        viewer = Viewer(principal, loop=self.loop)
        whom = tail.viewers if drafts else tail.waiters
        self.viewers.add(viewer)
        whom.add(viewer)
        try:
            yield viewer
        finally:
            self.viewers.discard(viewer)
            whom.discard(viewer)

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
                    viewer.tell()
            self._look_for_expired()

    async def keep_estimates(self) -> None:
        """Tell once in a while what calls in progress have used so far; runs as long as the process."""
        while True:
            await asyncio.sleep(EVERY)
            for tail in self._tails.values():
                tail.estimate()

    async def keep_positions(self) -> None:
        """Compare what is followed with the database, so that no lost message leaves anyone waiting for ever."""
        while True:
            await asyncio.sleep(chat_settings().position_poll)
            followed = list(self._tails)
            if followed:
                with _logged("positions"):
                    self._compare(await in_thread(positions, followed), asked=followed)

    def _compare(self, last: Mapping[UUID, int], *, asked: list[UUID]) -> None:
        """Have a look at whatever is further in the database than here, or gone."""
        behind = [
            conversation_id
            for conversation_id in asked
            if (tail := self._tails.get(conversation_id)) is not None
            and (tail.base is None or tail.last != last.get(conversation_id))
        ]
        metrics.REPAIRS.inc(sum(0 < self._tails[each].last < last.get(each, 0) for each in behind))
        self.watch.hear(behind)

    def _look_for_expired(self) -> None:
        """Have the database asked about keys that have ended by themselves."""
        now = datetime.now(UTC)
        if any(viewer.principal and (viewer.principal.expires_at or now) < now for viewer in self.viewers):
            self._suspected.set()

    def suspect(self) -> None:
        """Somebody may have lost a right: look now. May be called from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody looks any more
            self.loop.call_soon_threadsafe(self._suspected.set)

    async def keep_rights(self) -> None:
        """Check once in a while, or when there is a reason, for all viewers together, whether they may still look."""
        late = 0.0
        while True:
            recheck = chat_settings().recheck
            with suppress(TimeoutError):
                async with asyncio.timeout(min(AGAIN, recheck) if self.loop.time() < late else recheck):
                    await self._suspected.wait()
            if self._suspected.is_set():
                self._suspected.clear()
                late = self.loop.time() + LATE
            asked = {viewer.principal for viewer in self.viewers if viewer.principal is not None}
            if asked:
                with _logged("rights"):
                    valid = await in_thread(still_valid, asked)
                    self._refuse({viewer for viewer in self.viewers if viewer.principal in asked - valid}, AccessEnded)

    def _refuse(self, viewers: set[Viewer], refusal: type[ChatError]) -> None:
        for viewer in viewers:
            viewer.refuse(refusal)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """The top of a task that must go on whatever one round meets."""
    try:
        yield
    except Exception:
        logger.exception("could not compare %s with the database; trying again", what)
