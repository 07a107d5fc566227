"""The turns that run in a process: a task each, owned by its engine and not by any connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db import connections

from history import batches, compaction, status
from history.calls import Call
from history.compaction import BrokenOff, Place
from history.conf import chat_settings
from history.connections import AWAY
from history.errors import ChatError, Fenced, NotFound
from history.events import TurnError
from history.known_secrets import without_known
from history.releases import Releases
from history.writer import Writer
from llm.prices import cost
from llm.registry import Profile
from llm.types import ChatModel
from streaming import ends, gathering
from streaming.calls import Asking, MeasuredModel
from streaming.database import for_turns, patiently
from streaming.doubts import Doubts
from streaming.drive import Drive
from streaming.gathering import Begun, Claimed
from streaming.hub import Hub
from streaming.limited import with_limits
from streaming.log_lines import about
from streaming.play import play
from streaming.stop import Reason, Stop
from tools.loading import toolbox_from
from tools.tool import ToolContext
from tools.toolbox import Toolbox

logger = logging.getLogger(__name__)

T = TypeVar("T")

SHORT = 3.0
"""Seconds that turns get to give themselves back."""


class Running(NamedTuple):
    """A turn of this process."""

    task: asyncio.Task[None]
    stop: Stop


class Tasks:
    """What runs here. `released` is called when a turn was given back, for another process to go on with."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        engine: UUID,
        hub: Hub,
        writer: Writer,
        models: Callable[[Profile], ChatModel],
        released: Callable[[], None],
    ) -> None:
        self.is_ending = False
        self._loop = loop
        self._engine = engine
        self._hub = hub
        self._writer = writer
        self._models = models
        self._releases = Releases(engine)
        self._released = released
        self._toolbox: Toolbox = toolbox_from(
            chat_settings().tools, after_sync=connections.close_all, discreet=without_known
        )
        self._running: dict[UUID, Running] = {}
        self._expected: dict[UUID, int] = {}
        """Turns that are being made, and how many doubts there had been before."""
        self._coming: set[UUID] = set()
        self._left: set[UUID] = set()
        self._untold: dict[UUID, Call | None] = {}
        """The last calls of turns whose tasks have failed."""
        self._doubts = Doubts(loop, engine=engine, running=self.running, stop=self._stop)
        self.beat = self._doubts.pulse.beat
        self.is_awake = self._doubts.pulse.is_felt
        self.renewed = self._doubts.pulse.renewed
        self.specs = self._toolbox.specs

    def ids(self) -> frozenset[UUID]:
        """The turns that have a live task here, or are about to get one."""
        expected = tuple(self._expected)
        coming = tuple(self._coming)  # read first: a turn that begins meanwhile is still missing from neither
        return frozenset((*expected, *coming, *tuple(self._running)))

    def running(self) -> frozenset[UUID]:
        """Those of them that have a task already."""
        return frozenset(tuple(self._running))

    def has_left(self, turn_id: UUID) -> bool:
        """Whether a turn had a task here that failed and could not end it."""
        return turn_id in self._left

    def room(self) -> int:
        """How many turns more this process would carry. May be asked in any thread."""
        here = {*tuple(self._coming), *tuple(self._running)}.difference(tuple(self._expected))
        return 0 if self.is_ending else chat_settings().max_turns - len(here)

    @contextmanager
    def expecting(self, turn_id: UUID) -> Iterator[None]:
        """Around the transaction in which a turn is made that is this engine's from the start: it is committed before
        it is launched, and must not be taken for abandoned in between. May be entered in any thread."""
        self._expected[turn_id] = self._doubts.count
        try:
            yield
        finally:
            self._expected.pop(turn_id, None)

    def launch(self, turn_id: UUID, *, attempt: int | None = None, begun: Begun | None = None) -> None:
        """Run a turn: a queued one, or one that is this engine's in `attempt`. May be called from any thread, and again
        while it runs. The task gets an empty context: what called must not reach into it."""
        self._coming.add(turn_id)
        since = self._expected.get(turn_id, self._doubts.count)
        self._soon(partial(self._begin, turn_id, attempt=attempt, begun=begun, since=since))

    def stop(self, turn_id: UUID, reason: Reason = Reason.CANCELLED) -> None:
        """End a turn early if it runs here; may be called from any thread."""
        self._soon(self._stop, turn_id, reason)

    async def end(self, *, patience: float) -> None:
        """Begin no more turns, give the hops in progress `patience` seconds to end, and release what is left."""
        self.is_ending = True
        for running in self._running.values():
            running.stop.ends_with_hop = True
        await self._wait(patience)
        for turn_id in tuple(self._running):
            self._stop(turn_id, Reason.RELEASED)
        await self._wait(SHORT)

    async def _wait(self, patience: float) -> None:
        tasks = {running.task for running in self._running.values()}
        if tasks and patience:
            await asyncio.wait(tasks, timeout=patience)

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the turn is for another process
            self._loop.call_soon_threadsafe(call, *args)

    def _begin(self, turn_id: UUID, *, attempt: int | None, begun: Begun | None, since: int) -> None:
        if turn_id not in self._running:
            self._left.discard(turn_id)
            stop = Stop()
            run = self._run(turn_id, stop, attempt=attempt, begun=begun, since=since)
            task = self._loop.create_task(run, name=f"verbatim turn {turn_id}", context=Context())
            self._running[turn_id] = Running(task, stop)
            task.add_done_callback(lambda _: self._running.pop(turn_id, None))
        self._coming.discard(turn_id)  # last, see `ids`

    def _stop(self, turn_id: UUID, reason: Reason) -> None:
        if running := self._running.get(turn_id):
            running.stop.request(reason)

    async def _run(self, turn_id: UUID, stop: Stop, *, attempt: int | None, begun: Begun | None, since: int) -> None:
        """The top of a turn's task. A turn that fails here still ends in the log, unless it is somebody else's."""
        try:
            if attempt is None and not self.is_ending:
                lease = chat_settings().lease
                attempt = await self._write(partial(status.claim, turn_id, engine=self._engine, lease=lease))
            if attempt is not None and self.is_ending:
                await self._release(self._releases.job(turn_id, attempt=attempt))
            elif attempt is not None:
                specs = self._toolbox.specs()
                gather = partial(gathering.gather, turn_id, attempt=attempt, tools=specs, begun=begun)
                claimed = await patiently(gather, threads=for_turns)
                sure = partial(self._doubts.sure, claimed.place, since=since)
                await sure()
                with about(claimed.place.conversation_id, turn_id):
                    await self._perform(claimed, stop, sure=sure)
        except (Fenced, NotFound):
            logger.info("turn %s is not ours any more", turn_id)
        except ChatError as error:
            await self._give_up(turn_id, TurnError(code=error.code, message=error.message))
        except Exception as error:
            if not self._must_leave(turn_id, error):
                logger.exception("turn %s failed", turn_id)
                await self._give_up(turn_id, ends.INTERNAL)

    async def _perform(self, claimed: Claimed, stop: Stop, *, sure: Callable[[], Awaitable[None]]) -> None:
        place, profile = claimed.place, claimed.profile
        price = partial(cost, prices=profile.prices)
        calls = MeasuredModel(self._models(profile), Asking(profile.model, profile.context_window, price))
        with self._hub.tail(place.conversation_id) as tail:
            tail.learn(claimed.last_seq)
            items = play(
                claimed.request,
                model=with_limits(
                    calls,
                    place=place,
                    payer=claimed.payer,
                    accounts=claimed.accounts,
                    window=profile.context_window,
                    cost=price,
                    run=self._writer.run,
                ),
                model_name=profile.model,
                toolbox=self._toolbox.only(profile.tools),
                context=ToolContext(
                    principal=str(claimed.payer.owner_id),
                    conversation=str(place.conversation_id),
                    turn=str(place.turn_id),
                ),
                stop=stop,
                max_hops=chat_settings().max_tool_hops,
                budget=claimed.budget,
                callers=claimed.callers,
                progress=claimed.progress,
            )
            drive = Drive(
                place,
                hop=claimed.progress.asks,
                tail=tail,
                writer=self._writer,
                feel=self._doubts.pulse.feel,
                sure=sure,
                calls=calls,
            )
            self._doubts.drives.add(drive)
            try:
                await drive.run(items)
                if not drive.has_ended:
                    await self._release(self._releasing(place, call=await drive.take("released")))
            except (Fenced, NotFound):
                await self._write(partial(batches.drop, place.turn_id, attempt=place.attempt))
                raise
            except Exception:
                self._untold[place.turn_id] = await drive.take("failed", error=ends.INTERNAL)
                raise
            finally:
                self._doubts.drives.discard(drive)
                if not drive.has_ended:
                    self._hub.watch.add(place.conversation_id)  # another process may be going on with it

    def _releasing(self, place: Place, *, call: Call | None) -> Callable[[], None]:
        """What gives a turn back, and tells of its call that was broken off."""
        broken_off = None if call is None else BrokenOff(place.conversation_id, call)
        return self._releases.job(place.turn_id, attempt=place.attempt, broken_off=broken_off)

    async def _release(self, release: Callable[[], None]) -> None:
        """Let another process go on with a turn."""
        await self._write(release)
        self._released()

    async def _give_up(self, turn_id: UUID, error: TurnError) -> None:
        """End a turn whose task failed, with what is stored of it."""
        try:
            call = self._untold.pop(turn_id, None)
            await self._write(partial(compaction.end_broken, turn_id, engine=self._engine, error=error, call=call))
        except Exception as error:
            if not self._must_leave(turn_id, error):
                logger.exception("turn %s could not be ended; the keeper will go on with it", turn_id)
                self._left.add(turn_id)

    def _must_leave(self, turn_id: UUID, error: Exception) -> bool:
        """Whether the process ends before the database took a turn's end, or took it back."""
        if must_leave := self.is_ending and isinstance(error, AWAY):
            logger.warning("turn %s is left as it is; another process takes it over when its lease lapses", turn_id)
        return must_leave

    async def _write(self, write: Callable[[], T]) -> T:
        """Have the writer do it."""
        return await asyncio.wrap_future(self._writer.run(write))
