"""Turns that a process gives back. All that wait for the writer at the same time go in one transaction: who ends has
little time, and may have hundreds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.db import OperationalError

from history import status
from history.conf import chat_settings
from history.errors import Fenced


class Releases:
    """Those of one engine."""

    def __init__(self, engine: UUID) -> None:
        self._engine = engine
        self._waiting: dict[UUID, int] = {}
        """The attempts of turns that are to be given back."""

    def job(self, turn_id: UUID, *, attempt: int) -> Callable[[], None]:
        """Note that a turn is to be given back, and return what does it, for the writer: unless the job of another has
        done so, this one does it for all. It raises `Fenced` if the turn is not ours any more, and `OperationalError`
        if somebody has locked it, which keeps back no other."""
        self._waiting[turn_id] = attempt
        return partial(self._release, turn_id, attempt=attempt)

    def _release(self, turn_id: UUID, *, attempt: int) -> None:
        if turn_id in self._waiting:
            for released in status.release(dict(self._waiting), lease=chat_settings().lease):
                del self._waiting[released]
        if turn_id in self._waiting:
            if status.owned(self._engine).get(turn_id, (0, ""))[0] == attempt:
                raise OperationalError("a turn that is to be given back is locked")
            del self._waiting[turn_id]
            raise Fenced
