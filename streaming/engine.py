"""The engine of a process: the tasks in which turns run, owned by it and not by any connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid4

from django.db import connections

from access import limits
from access.profiles import model_of, registry
from history import batches, committed, compaction, status
from history.committed import Committed
from history.compaction import Place
from history.conf import chat_settings
from history.connections import AWAY
from history.draft import Draft
from history.errors import ChatError, Fenced, NotFound
from history.events import TurnError
from history.models import Status
from history.writer import Writer
from llm.prices import cost
from llm.types import ChatModel
from streaming import claims, ends
from streaming.claims import Begun, Claimed
from streaming.database import in_thread
from streaming.doorbell import Doorbell, Ring, shared
from streaming.drive import Cost, Drive
from streaming.hub import Hub
from streaming.keeper import Keeper
from streaming.limited import with_limits
from streaming.play import play
from streaming.stop import Reason, Stop
from tools.loading import toolbox_from
from tools.tool import ToolContext
from tools.toolbox import Toolbox

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE, PAUSE = 60.0, 0.5
"""How long a database that is away is waited for before a turn is given up, and how often it is asked, in seconds."""

LAST_WORDS = 1.0
"""Seconds in which requests that are being answered when the process ends may come to their end."""


class Running(NamedTuple):
    """A turn of this process."""

    task: asyncio.Task[None]
    stop: Stop


class Engine:
    """Made on the loop it will live on. `id` names this process in the rows it owns; `models` gives the model of a
    profile by its name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, models: Callable[[str], ChatModel] = model_of) -> None:
        settings = chat_settings()
        self.models = models
        self.id = uuid4()
        self.loop = loop
        self.hub = Hub(loop)
        self.writer = Writer(
            interval=settings.batch_interval,
            full=settings.batch_chars,
            stored=self._draft_stored,
            failed=self._draft_failed,
        )
        self.keeper = Keeper(self.id, turns=self.turns, room=self.room, launch=self.launch, stop=self.stop_turn)
        self.toolbox: Toolbox = toolbox_from(settings.tools, after_sync=connections.close_all)
        connect = shared()
        self.doorbell = connect and Doorbell(connect, engine=self.id, loop=loop, heard=self._heard)
        self.draining = False
        self.requests: set[asyncio.Task[Any]] = set()
        """HTTP requests that are being answered."""
        self._running: dict[UUID, Running] = {}
        self._coming: set[UUID] = set()
        self._chores: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to run turns and to look after them."""
        committed.listeners += [self.hub.committed, self._committed]
        self.writer.start()
        self.keeper.start()
        self._chores = [
            self.loop.create_task(chore(), name=f"verbatim {chore.__name__}", context=Context())
            for chore in self._all_chores()
        ]
        logger.info("engine %s started", self.id)

    def _all_chores(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        yield from (self.hub.keep_time, self.hub.keep_positions, self.hub.keep_rights, self.hub.watch.keep)
        if self.doorbell is not None:
            yield from (self.doorbell.send, self.doorbell.listen)

    def turns(self) -> frozenset[UUID]:
        """The turns that have a live task here, or are about to get one."""
        return frozenset((*tuple(self._running), *tuple(self._coming)))

    def room(self) -> int:
        """How many turns more this process would carry."""
        return 0 if self.draining else chat_settings().max_turns - len(self.turns())

    def launch(self, turn_id: UUID, *, attempt: int | None = None, begun: Begun | None = None) -> None:
        """Run a turn: a queued one, or one that this engine has taken over in `attempt`. May be called from any thread.
        The task gets an empty context: what called must not reach into it."""
        self._coming.add(turn_id)
        self._soon(partial(self._begin, turn_id, attempt=attempt, begun=begun))

    def stop_turn(self, turn_id: UUID, reason: Reason = Reason.CANCELLED) -> None:
        """End a turn early if it runs here; may be called from any thread."""
        self._soon(self._stop, turn_id, reason)

    async def drain(self, *, patience: float) -> None:
        """Take no new turns, give the hops in progress `patience` seconds to end, release what is left, store
        everything, send the viewers away and let them be told so."""
        self.draining = True
        for running in self._running.values():
            running.stop.ends_with_hop = True
        await self._wait_for_turns(patience)
        for turn_id in tuple(self._running):
            self._stop(turn_id, Reason.RELEASED)
        await self._wait_for_turns(1.0)
        if self.doorbell is not None:
            await self.doorbell.send_now()
        self.hub.close()
        if self.requests:
            await asyncio.wait(self.requests, timeout=LAST_WORDS)
        await self.close()

    async def close(self) -> None:
        """Store what is left, end the threads and chores. The engine cannot be started again."""
        for listener in (self.hub.committed, self._committed):
            if listener in committed.listeners:
                committed.listeners.remove(listener)
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(asyncio.to_thread(self.keeper.stop), asyncio.to_thread(self.writer.stop, timeout=1.0))
        await registry().aclose()
        logger.info("engine %s stopped", self.id)

    async def _wait_for_turns(self, patience: float) -> None:
        tasks = {running.task for running in self._running.values()}
        if tasks and patience:
            await asyncio.wait(tasks, timeout=patience)

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the turn is for another process
            self.loop.call_soon_threadsafe(call, *args)

    def _begin(self, turn_id: UUID, *, attempt: int | None, begun: Begun | None) -> None:
        self._coming.discard(turn_id)
        if turn_id in self._running or self.draining:
            return
        stop = Stop()
        run = self._run(turn_id, stop, attempt=attempt, begun=begun)
        task = self.loop.create_task(run, name=f"verbatim turn {turn_id}", context=Context())
        self._running[turn_id] = Running(task, stop)
        task.add_done_callback(lambda _: self._running.pop(turn_id, None))

    def _stop(self, turn_id: UUID, reason: Reason) -> None:
        running = self._running.get(turn_id)
        if running is not None:
            running.stop.request(reason)

    async def _run(self, turn_id: UUID, stop: Stop, *, attempt: int | None, begun: Begun | None) -> None:
        """The top of a turn's task. A turn that fails here still ends in the log, unless it is somebody else's."""
        try:
            if attempt is None:
                attempt = await self._write(partial(claims.claim, turn_id, engine=self.id))
            if attempt is not None:
                await self._perform(await self._gather(turn_id, attempt=attempt, begun=begun), stop)
        except (Fenced, NotFound):
            logger.info("turn %s is not ours any more", turn_id)
        except ChatError as error:
            await self._give_up(turn_id, TurnError(code=error.code, message=error.message))
        except Exception:
            logger.exception("turn %s failed", turn_id)
            await self._give_up(turn_id, ends.INTERNAL)

    async def _gather(self, turn_id: UUID, *, attempt: int, begun: Begun | None) -> Claimed:
        """What the loop needs; a database that is away is waited for."""
        gather = partial(claims.gather, turn_id, attempt=attempt, tools=self.toolbox.specs(), begun=begun)
        until = self.loop.time() + PATIENCE
        while True:
            try:
                return await in_thread(gather)
            except AWAY:
                if self.loop.time() > until:
                    raise
                await asyncio.sleep(PAUSE)

    async def _perform(self, claimed: Claimed, stop: Stop) -> None:
        place, profile = claimed.place, claimed.profile
        price = partial(cost, prices=profile.prices)
        with self.hub.tail(place.conversation_id) as tail:
            tail.learn(claimed.last_seq)
            items = play(
                claimed.request,
                model=self._model(claimed, price=price),
                model_name=profile.model,
                toolbox=self.toolbox,
                context=ToolContext(
                    principal=str(claimed.payer.owner_id),
                    conversation=str(place.conversation_id),
                    turn=str(place.turn_id),
                ),
                stop=stop,
                max_hops=chat_settings().max_tool_hops,
                budget=claimed.budget,
                progress=claimed.progress,
            )
            drive = Drive(place, hop=claimed.progress.hop, tail=tail, writer=self.writer, cost=price)
            try:
                await drive.run(items)
                if not drive.has_ended:
                    await self._release(place)
            except (Fenced, NotFound):
                await self._write(partial(batches.drop, place.turn_id, attempt=place.attempt))
                raise

    async def _release(self, place: Place) -> None:
        """Let another process go on with a turn."""
        await self._write(partial(status.release, place.turn_id, attempt=place.attempt))
        if self.doorbell is not None:
            self.doorbell.ring(released=True)

    def _model(self, claimed: Claimed, *, price: Cost) -> ChatModel:
        """The model of the turn's profile, within its payer's limits."""
        model = self.models(claimed.profile.name)
        if not limits.is_by_day(claimed.payer):
            return model
        window = claimed.profile.context_window
        return with_limits(model, payer=claimed.payer, window=window, cost=price, run=self.writer.run)

    async def _give_up(self, turn_id: UUID, error: TurnError) -> None:
        """End a turn whose task failed, with what is stored of it."""
        try:
            await self._write(partial(compaction.end_broken, turn_id, engine=self.id, error=error))
        except Exception:
            logger.exception("turn %s could not be ended; its lease will lapse", turn_id)

    async def _write(self, write: Callable[[], T]) -> T:
        """Have the writer do it."""
        return await asyncio.wrap_future(self.writer.run(write))

    def _draft_failed(self, draft: Draft) -> None:
        self.stop_turn(draft.turn_id, Reason.INTERRUPTED)

    def _draft_stored(self, drafts: Collection[Draft]) -> None:
        if self.doorbell is not None:
            self.doorbell.ring(drafts=[draft.conversation_id for draft in drafts])

    def _committed(self, change: Committed) -> None:
        """Something happened in this process: a stop is perhaps for a turn that runs here, the rest is for others."""
        stop = change.turn_id if change.status == Status.STOPPING else None
        if stop is not None:
            self.stop_turn(stop)
        if self.doorbell is not None and (stop is not None or change.gone or change.last_seq is not None):
            self.doorbell.ring(event=(change.conversation_id, change.last_seq or 0), stop=stop)

    def _heard(self, ring: Ring) -> None:
        """Something happened in another process."""
        for turn_id in ring.stops:
            self._stop(UUID(turn_id), Reason.CANCELLED)
        self.hub.hear(ring)
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
