"""The thread that keeps this process's leases and looks for turns that nobody keeps; it has a connection of its own,
so that no number of viewers can delay it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from uuid import UUID

from history import batches, compaction, status
from history.compaction import Place
from history.conf import chat_settings
from history.connections import own_connection, reconnect
from history.errors import Fenced, NotFound
from history.models import Status
from streaming import ends
from streaming.stop import Reason

logger = logging.getLogger(__name__)

ORPHAN_AGE = 3_600.0
"""Seconds after which stored text of a turn that is not in progress is deleted: nobody will come for it."""


class Keeper:
    """Renews before it looks at others' turns, and looks only after its own renewals have gone well for one whole
    lease: a database that was away must not make healthy turns look dead."""

    def __init__(
        self,
        engine: UUID,
        *,
        turns: Callable[[], frozenset[UUID]],
        launch: Callable[[UUID], None],
        stop: Callable[[UUID, Reason], None],
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._launch = launch
        self._stop = stop
        self._ending = Event()
        self._well_since: float | None = None
        self._renewed_at = 0.0
        self._unowned: frozenset[UUID] = frozenset()
        self._thread = Thread(target=self._loop, name="verbatim-keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the round it is in."""
        self._ending.set()
        self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        with own_connection():
            while not self._ending.is_set():
                try:
                    self.round()
                except Exception:  # the top of the thread: the next round may go well
                    logger.exception("leases could not be kept; trying again")
                    self._well_since = None
                    reconnect()
                self._ending.wait(chat_settings().lease_renewal)

    def round(self) -> None:
        """Renew, pass on stops, launch the forgotten, then end the turns of the dead."""
        settings = chat_settings()
        owned = status.owned(self._engine)  # read before the live tasks are listed: a turn may be just starting
        live = self._turns()
        if live:
            status.renew(live, engine=self._engine, lease=settings.lease)
        self.note_renewal(settings.lease)
        for turn_id in live:
            if owned.get(turn_id, (0, ""))[1] == Status.STOPPING:
                self._stop(turn_id, Reason.CANCELLED)
        self._stop_lost(live - owned.keys())
        for turn_id in status.forgotten(after=settings.lease_renewal):
            self._launch(turn_id)
        if self.is_well(settings.lease):
            self._end_lapsed()
            batches.sweep(older=ORPHAN_AGE)

    def note_renewal(self, lease: float) -> None:
        """Renewals go well as long as each comes soon after the last. One that had to wait, for a lock, for a database
        that was away, or because this process slept, begins anew: others may have waited as well."""
        now = time.monotonic()
        if self._well_since is None or now - self._renewed_at > lease / 2:
            self._well_since = now
        self._renewed_at = now

    def is_well(self, lease: float) -> bool:
        """Whether renewals have gone well for a whole lease."""
        return self._well_since is not None and self._renewed_at - self._well_since >= lease

    def _stop_lost(self, unowned: frozenset[UUID]) -> None:
        """Stop what runs here and is not ours any more: deleted, or somebody else's. Seen twice, because a turn that
        is just starting is not ours yet."""
        for turn_id in status.not_mine(unowned & self._unowned, engine=self._engine):
            logger.warning("turn %s is not ours any more", turn_id)
            self._stop(turn_id, Reason.INTERRUPTED)
        self._unowned = unowned

    def _end_lapsed(self) -> None:
        for conversation_id, turn_id, attempt in status.lapsed():
            try:
                compaction.end_lapsed(Place(conversation_id, turn_id, attempt), error=ends.INTERRUPTED)
                logger.warning("turn %s was left by its process and has been ended", turn_id)
            except (Fenced, NotFound):
                logger.info("turn %s was ended by another process", turn_id)
