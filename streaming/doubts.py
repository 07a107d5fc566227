"""Whose the turns of this process are, where others may have taken them over: the database is asked, and until it has
answered nothing more is shown of them, and no tool is run."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Mapping
from contextvars import Context
from functools import partial
from uuid import UUID

from history import status
from history.compaction import Place
from history.conf import chat_settings
from history.errors import Fenced
from streaming.database import for_turns, patiently
from streaming.drive import Drive
from streaming.pulse import Pulse, elapsed
from streaming.stop import Reason

logger = logging.getLogger(__name__)


class Doubts:
    """Those of one engine. `running` gives the turns that have a task here, `stop` has one of them end. Lives on the
    engine's loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        engine: UUID,
        running: Callable[[], Collection[UUID]],
        stop: Callable[[UUID, Reason], None],
    ) -> None:
        self.count = 0
        """How often it had to be asked whose the turns are."""
        self.drives: set[Drive] = set()
        """What shows the turns that run here."""
        self.pulse = Pulse(doubt=self.verify)
        self._loop = loop
        self._engine = engine
        self._running = running
        self._stop = stop
        self._verifying: asyncio.Task[None] | None = None
        self._ours: Mapping[UUID, int] = {}
        """The attempts of those that are this engine's, as of the last time."""

    def verify(self) -> None:
        """Others may have taken our turns over: nothing more is shown of them, and no tool is run, until we know."""
        if self._verifying is None or self._verifying.done():
            for drive in self.drives:
                drive.hide()
            if self.drives:
                logger.warning("leases were not renewed in time; %d turns are to be verified", len(self.drives))
            self._verifying = self._loop.create_task(self._verify(), name="verbatim verify", context=Context())

    async def sure(self, place: Place, *, since: int) -> None:
        """Return as soon as it is certain that the turn is ours. Raises `Fenced` if it is not, or was not at any time
        since there were so many doubts."""
        self.pulse.feel()
        while not self.pulse.is_sure():
            assert self._verifying is not None, "whoever is in doubt, asks"
            await asyncio.wait({self._verifying})
            self.pulse.feel()
        if self.count > since and not self._is_ours(place):
            raise Fenced

    async def _verify(self) -> None:
        """Show again what is ours, and stop the rest."""
        began = elapsed()
        verify = partial(status.verify, self._running(), engine=self._engine, lease=chat_settings().lease)
        self._ours = await patiently(verify, patience=math.inf, threads=for_turns)
        self.count += 1
        self.pulse.verified(began)
        for drive in self.drives:
            if self._is_ours(drive.place):
                drive.show()
            else:
                self._stop(drive.place.turn_id, Reason.INTERRUPTED)

    def _is_ours(self, place: Place) -> bool:
        return self._ours.get(place.turn_id) == place.attempt
