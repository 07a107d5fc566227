"""The thread that keeps this process's leases and looks for turns that nobody keeps; it has a connection of its own,
so that no number of viewers can delay it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from uuid import UUID

from django.db import connection

from history import compaction, status
from history.compaction import Place
from history.conf import chat_settings
from history.errors import Fenced, NotFound
from history.models import Status
from streaming.play import STOPPED_BY_SERVER

logger = logging.getLogger(__name__)


class Keeper:
    """Renews before it looks at others' turns, and looks only after its own renewals have gone well for one whole
    lease: a database that was away must not make healthy turns look dead."""

    def __init__(
        self,
        engine: UUID,
        *,
        turns: Callable[[], frozenset[UUID]],
        launch: Callable[[UUID], None],
        stop: Callable[[UUID], None],
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._launch = launch
        self._stop = stop
        self._ending = Event()
        self._well_since: float | None = None
        self._thread = Thread(target=self._loop, name="verbatim-keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the round it is in."""
        self._ending.set()
        self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        try:
            while True:
                try:
                    self.round()
                except Exception:  # the top of the thread: the next round may go well
                    logger.exception("leases could not be kept; trying again")
                    self._well_since = None
                    connection.close()
                if self._ending.wait(chat_settings().lease_renewal):
                    return
        finally:
            connection.close()

    def round(self) -> None:
        """Renew, pass on stops, then end the turns of the dead and launch the forgotten."""
        settings = chat_settings()
        began = time.monotonic()
        owned = status.owned(self._engine)  # read before the live tasks are listed: a turn may be just starting
        live = self._turns()
        if live:
            status.renew(live, engine=self._engine, lease=settings.lease)
        for turn_id, (_, state) in owned.items():
            if turn_id in live and state == Status.STOPPING:
                self._stop(turn_id)
        if self._well_since is None:
            self._well_since = began
        for turn_id in status.forgotten(after=settings.lease_renewal):
            self._launch(turn_id)
        if began - self._well_since >= settings.lease:
            self._end_lapsed()

    def _end_lapsed(self) -> None:
        for conversation_id, turn_id, attempt in status.lapsed():
            try:
                compaction.end_lapsed(Place(conversation_id, turn_id, attempt), error=STOPPED_BY_SERVER)
                logger.warning("turn %s was left by its process and has been ended", turn_id)
            except (Fenced, NotFound):
                logger.info("turn %s was ended by another process", turn_id)
