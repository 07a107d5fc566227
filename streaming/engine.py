"""The engine of a process: everything that runs turns, stores them and looks after them, put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from access.keys import rights_changed
from access.profiles import model_of, registry
from history import committed
from history.committed import Committed
from history.conf import chat_settings
from history.draft import Draft
from history.models import Status
from history.writer import Writer
from llm.registry import Profile
from llm.types import ChatModel
from streaming import metrics
from streaming.chores import have_done
from streaming.doorbell import Doorbell, Ring, shared
from streaming.hub import Hub
from streaming.keeper import Keeper
from streaming.log_lines import about
from streaming.stop import Reason
from streaming.tasks import Tasks
from streaming.titles import Titles

logger = logging.getLogger(__name__)

HASTE = 1.5
"""Seconds that the end of a process takes beyond its patience with answers. What hangs then is left as it is."""
LAST_WRITES = 0.25
"""Seconds of them that are left to the threads, so that they store what they have."""


class Engine:
    """Made on the loop it will live on. `id` names this process in the rows it owns; `models` gives the model of a
    profile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, models: Callable[[Profile], ChatModel] = model_of) -> None:
        settings = chat_settings()
        self.id = uuid4()
        self.loop = loop
        self.hub = Hub(loop)
        self.writer = Writer(
            interval=settings.batch_interval,
            full=settings.batch_chars,
            stored=self._draft_stored,
            failed=self._draft_failed,
        )
        self.tasks = Tasks(
            loop, engine=self.id, hub=self.hub, writer=self.writer, models=models, released=self._turn_released
        )
        self.keeper = Keeper(self.id, self.tasks)
        self.titles = Titles(loop, writer=self.writer, models=models)
        layer = shared()
        self.doorbell = layer and Doorbell(layer, engine=self.id, loop=loop, heard=self._heard)
        self.requests: set[asyncio.Task[Any]] = set()
        """HTTP requests that are being answered."""
        self._listeners = (self.hub.committed, self._committed, metrics.committed)
        self._chores: list[asyncio.Task[Any]] = []

    def start(self) -> None:
        """Begin to run turns and to look after them."""
        committed.listeners += self._listeners
        rights_changed.connect(self._rights_changed)
        self.writer.start()
        self.keeper.start()
        for chore in self._all_chores():
            self._have_done(chore)
        logger.info("engine %s started", self.id)

    def _have_done(self, chore: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        task = have_done(chore(), loop=self.loop, name=chore.__name__)
        self._chores.append(task)
        return task

    def _all_chores(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        yield from (self.hub.keep_time, self.hub.keep_positions, self.hub.keep_rights, self.hub.watch.keep)
        yield from (self.hub.states.keep, self.hub.keep_estimates, self.tasks.beat, self.keep_metrics)
        if self.doorbell is not None:
            yield from (self.doorbell.send, self.doorbell.listen)

    @property
    def draining(self) -> bool:
        """Whether this process is on its way out."""
        return self.tasks.is_ending

    async def drain(self, *, patience: float) -> None:
        """Take no new turns, give the hops in progress `patience` seconds to end, release what is left, store
        everything, send the viewers away and let them be told so."""
        until = self.loop.time() + patience + HASTE
        await self.tasks.end(patience=patience)
        self.hub.close()
        await self.titles.end(patience=LAST_WRITES)
        last: list[asyncio.Future[Any]] = [*self.requests]
        if self.doorbell is not None:  # what is released is found without it, a little later
            last.append(self._have_done(self.doorbell.send_now))
        if last:
            await asyncio.wait(last, timeout=max(0.0, until - LAST_WRITES - self.loop.time()))
        await self.close(within=max(LAST_WRITES, until - self.loop.time()))

    async def close(self, *, within: float = HASTE) -> None:
        """Store what is left, end the threads and chores, for so many seconds. The engine cannot be started again."""
        for listener in self._listeners:
            if listener in committed.listeners:
                committed.listeners.remove(listener)
        rights_changed.disconnect(self._rights_changed)
        for chore in self._chores:
            chore.cancel()
        last = (
            asyncio.to_thread(self.keeper.stop, timeout=within),
            asyncio.to_thread(self.writer.stop, timeout=within),
            registry().aclose(),
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.gather(*last)
        logger.info("engine %s stopped", self.id)

    async def keep_metrics(self) -> None:
        """Look once in a while at what is here; runs as long as the process."""
        while True:
            metrics.look(running=len(self.tasks.running()), viewers=len(self.hub.viewers), lag=self.writer.lag())
            await asyncio.sleep(metrics.EVERY)

    def _draft_failed(self, draft: Draft) -> None:
        self.tasks.stop(draft.turn_id, Reason.INTERRUPTED)

    def _turn_released(self) -> None:
        if self.doorbell is not None:
            self.doorbell.ring(released=True)

    def _draft_stored(self, drafts: Collection[Draft]) -> None:
        if self.doorbell is not None:
            self.doorbell.ring(drafts=[draft.conversation_id for draft in drafts])

    def _committed(self, change: Committed) -> None:
        """Something happened in this process: a stop is perhaps for a turn that runs here, the rest is for others."""
        if change.status is not None:
            with about(change.conversation_id, change.turn_id):
                logger.info("the turn is %s", change.status)
        stop = change.turn_id if change.status == Status.STOPPING else None
        if stop is not None:
            self.tasks.stop(stop)
        if change.status == Status.COMPLETED and change.turn_id is not None and chat_settings().titles:
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.titles.begin, change.conversation_id, change.turn_id)
        is_beside = change.last_seq is None and change.status is None  # beside the log, such as another title
        if self.doorbell is not None and (stop is not None or is_beside or change.last_seq is not None):
            self.doorbell.ring(event=(change.conversation_id, change.last_seq or 0), stop=stop)

    def _rights_changed(self, **_: object) -> None:
        """A key may do less, by somebody's word to this process."""
        self.hub.suspect()
        if self.doorbell is not None:
            self.doorbell.ring(rights=True)

    def _heard(self, ring: Ring) -> None:
        """Something happened in another process."""
        for turn_id in ring.stops:
            self.tasks.stop(UUID(turn_id))
        self.hub.hear(ring)
        if ring.rights:
            self.hub.suspect()
        if ring.released:
            self.keeper.hurry()


_engine: Engine | None = None


def current() -> Engine | None:
    """The engine of this process, if it has one: a shell, a command or a WSGI server has none."""
    return _engine


def ensure_started() -> Engine:
    """Start the engine on the running loop, once per process, and hook it to the signals that end the process."""
    if _engine is not None:
        return _engine
    from streaming.signals import end_with_signals

    engine = install(Engine(asyncio.get_running_loop()))
    end_with_signals(engine)
    return engine


def install(engine: Engine) -> Engine:
    """Make this the engine of the process, and start it."""
    global _engine
    _engine = engine
    engine.start()
    return engine


def is_draining() -> bool:
    """Whether this process is on its way out."""
    return _engine is not None and _engine.draining
