"""The thread that keeps this process's leases and looks for turns that nobody keeps; it has a connection of its own,
so that no number of viewers can delay it."""

from __future__ import annotations

import logging
import math
from threading import Event, Thread
from typing import Protocol
from uuid import UUID

from django.db.models import Q

from access import holds
from history import batches, compaction, status, takeover, titles
from history.compaction import Place
from history.conf import chat_settings
from history.connections import AWAY, own_connection, reconnect
from history.errors import Fenced, NotFound
from history.locks import IDLE
from history.models import Status
from history.status import Abandoned
from llm.types import ToolSpec
from streaming import ends
from streaming.log_lines import about
from streaming.lost import asked_in
from streaming.pulse import elapsed
from streaming.stop import Reason

logger = logging.getLogger(__name__)

ORPHAN_AGE = 3_600.0
"""Seconds after which stored text of a turn that is not in progress is deleted: nobody will come for it."""

TITLE_AGE = 600.0
"""Seconds after which a call for a title was lost with its process."""
SWEEP = ORPHAN_AGE / 10
"""Seconds between two looks for such text: each reads all that is stored of drafts."""

LATE = 2 * IDLE
"""Seconds after which nothing more comes of a turn from a process that has lost it: what that was storing at the moment
of the loss has been committed by then, or ended by the database."""


class Turns(Protocol):
    """The turns that run in this process; see `streaming.tasks`."""

    def is_awake(self) -> bool: ...
    def renewed(self, began: float) -> None: ...
    def ids(self) -> frozenset[UUID]: ...
    def running(self) -> frozenset[UUID]: ...
    def has_left(self, turn_id: UUID) -> bool: ...
    def room(self) -> int: ...
    def specs(self) -> tuple[ToolSpec, ...]: ...
    def launch(self, turn_id: UUID, *, attempt: int | None = None) -> None: ...
    def stop(self, turn_id: UUID, reason: Reason = ...) -> None: ...


class Keeper:
    """Renews before it looks at others' turns, and looks only after its own renewals have gone well for one whole
    lease: a database that was away must not make healthy turns look dead."""

    def __init__(self, engine: UUID, turns: Turns) -> None:
        self._engine = engine
        self._turns = turns
        self._hurry = Event()
        self._ending = False
        self._well_since: float | None = None
        self._renewed_at = 0.0
        self._began = 0.0
        self._swept_at = -math.inf
        self._tried_at: dict[UUID, float] = {}
        self._lost_at: dict[UUID, float] = {}
        """When turns were taken from processes that may not know it yet."""
        self._unowned: frozenset[UUID] = frozenset()
        self._thread = Thread(target=self._loop, name="verbatim-keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self, *, timeout: float = 1.0) -> None:
        """End the thread, after the round it is in, unless that takes longer than `timeout` seconds."""
        self._ending = True
        self._hurry.set()
        self._thread.join(timeout)

    def hurry(self) -> None:
        """Have the next round begin at once."""
        self._hurry.set()

    def _loop(self) -> None:
        with own_connection():
            while not self._ending:
                self._hurry.clear()
                try:
                    self.round()
                except Exception:  # the top of the thread: the next round may go well
                    logger.exception("leases could not be kept; trying again")
                    self._well_since = None
                    reconnect()
                self._hurry.wait(self.pause())

    def pause(self) -> float:
        """Seconds until the next round: what this one has done must not delay the renewals of the next."""
        return max(0.0, self._began + chat_settings().lease_renewal - elapsed())

    def round(self) -> None:
        """Renew, pass on stops, launch the forgotten, then go on with the turns of those who are gone. While the loop
        hangs nothing of that is done: the turns that it keeps waiting are for others to take."""
        settings = chat_settings()
        self._began = elapsed()
        if not self._turns.is_awake():
            logger.error("the event loop has stood still for a whole lease; its turns are not renewed")
            return
        owned = status.owned(self._engine)  # read before the live tasks are listed: a turn may be just starting
        live = self._turns.ids()
        if live:
            status.renew(live, engine=self._engine, lease=settings.lease)
        self._turns.renewed(self._began)
        self.note_renewal(settings.lease)
        for turn_id in live:
            if owned.get(turn_id, (0, ""))[1] == Status.STOPPING:
                self._turns.stop(turn_id, Reason.CANCELLED)
        self._stop_lost(self._turns.running() - owned.keys())
        for turn_id in status.forgotten(after=settings.lease_renewal)[: max(0, self._turns.room())]:
            self._turns.launch(turn_id)
        for turn in self._abandoned(owned.keys() - live):
            if turn.turn_id in live:
                continue  # what another process took from us, and left in its turn: our own task must end first
            if self.pause() == 0.0:
                break  # to renew comes first
            self._tried_at[turn.turn_id] = elapsed()
            with about(turn.conversation_id, turn.turn_id):
                self._go_on(turn)
        self._sweep()

    def note_renewal(self, lease: float) -> None:
        """Renewals go well as long as each comes soon after the last. One that had to wait, for a lock, for a database
        that was away, or because this process slept, begins anew: others may have waited as well."""
        now = elapsed()
        if self._well_since is None or now - self._renewed_at > lease / 2:
            self._well_since = now
        self._renewed_at = now

    def is_well(self, lease: float) -> bool:
        """Whether renewals have gone well for a whole lease."""
        return self._well_since is not None and self._renewed_at - self._well_since >= lease

    def _stop_lost(self, unowned: frozenset[UUID]) -> None:
        """Stop what runs here and is not ours any more: deleted, or somebody else's. What runs has been committed, so
        whoever asks after that gets the truth. Seen twice, because a task is there a little longer than its turn."""
        for turn_id in status.not_mine(unowned & self._unowned, engine=self._engine):
            logger.warning("turn %s is not ours any more", turn_id)
            self._turns.stop(turn_id, Reason.INTERRUPTED)
        self._unowned = unowned

    def _abandoned(self, orphans: set[UUID]) -> list[Abandoned]:
        """Turns that are ours without a task, that were released, and, while we are well, whose lease has lapsed. One
        that could not be gone on with comes after the others: many that are locked must keep nobody from the rest."""
        found = status.abandoned(Q(engine=self._engine), among=orphans) if orphans else []
        gone = status.RELEASED | status.LAPSED if self.is_well(chat_settings().lease) else status.RELEASED
        found += [turn for turn in status.abandoned(gone) if turn.turn_id not in orphans]
        self._tried_at = {turn.turn_id: self._tried_at.get(turn.turn_id, -math.inf) for turn in found}
        return sorted(found, key=lambda turn: self._tried_at[turn.turn_id])

    def _go_on(self, turn: Abandoned) -> None:
        """Take it over, or end it: if that was asked for, or if too many processes were lost with it. One that is ours
        and never had a task has lost nobody: its commit was not heard of, and it only has to begin."""
        settings = chat_settings()
        unheard = turn.engine == self._engine and not self._turns.has_left(turn.turn_id)
        lost = turn.losses + (0 if unheard or turn.engine is None else 1)
        try:
            holds.settle_lost(turn.turn_id, attempt=turn.attempt)
            if turn.status == Status.STOPPING or lost >= settings.max_losses:
                place = Place(turn.conversation_id, turn.turn_id, turn.attempt)
                asked = asked_in(turn, tools=self._turns.specs())
                compaction.end_lapsed(place, error=ends.INTERRUPTED, still=turn.still, asked=asked)
                self._lost_at[turn.turn_id] = elapsed()
                logger.warning("turn %s was left by its process and has been ended", turn.turn_id)
            elif self._turns.room() > 0:
                attempt = turn.attempt if unheard else self._take_over(turn)
                self._turns.launch(turn.turn_id, attempt=attempt)
        except (Fenced, NotFound):
            logger.info("turn %s goes on in another process", turn.turn_id)
        except AWAY:
            logger.info("turn %s is locked; trying again", turn.turn_id)
            reconnect()
        except Exception:  # whatever is wrong with this one, the others are gone on with
            logger.exception("nothing can be done about turn %s; trying again", turn.turn_id)

    def _take_over(self, turn: Abandoned) -> int:
        asked = asked_in(turn, tools=self._turns.specs())
        attempt = takeover.take_over(turn, engine=self._engine, lease=chat_settings().lease, asked=asked)
        self._lost_at[turn.turn_id] = elapsed()
        logger.warning("turn %s was left by its process and goes on here", turn.turn_id)
        return attempt

    def _sweep(self) -> None:
        """Delete text that has come behind the end of its turn, and what is so old that nobody can want it."""
        late = [turn_id for turn_id, lost_at in self._lost_at.items() if elapsed() - lost_at >= LATE]
        if late:
            batches.sweep_late(late)
            for turn_id in late:
                del self._lost_at[turn_id]
        if self.is_well(chat_settings().lease) and elapsed() - self._swept_at >= SWEEP:
            self._swept_at = elapsed()
            batches.sweep(older=ORPHAN_AGE)
            self._settle_titles()

    def _settle_titles(self) -> None:
        """Tell of the calls for titles that were lost with their processes; what there is no time for, another time."""
        for conversation_id, title in titles.lost(older=TITLE_AGE):
            if self.pause() == 0.0:
                break  # to renew comes first
            try:
                titles.settle_lost(conversation_id, title=title)
            except NotFound:
                logger.info("conversation %s is gone, and needs no title", conversation_id)
            except AWAY:
                logger.info("conversation %s is locked; trying again", conversation_id)
                reconnect()
            except Exception:  # whatever is wrong with this one, the others are told of
                logger.exception(
                    "the call for a title of conversation %s cannot be told; trying again", conversation_id
                )
