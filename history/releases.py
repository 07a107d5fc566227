"""Turns that a process gives back. All that wait for the writer at the same time go in one transaction: who ends has
little time, and may have hundreds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError

from history import compaction, status
from history.compaction import BrokenOff
from history.conf import chat_settings
from history.errors import Fenced


class Waiting(NamedTuple):
    """A turn that is to be given back: in which attempt, and the call of it that was broken off, if one was."""

    attempt: int
    broken_off: BrokenOff | None


class Releases:
    """Those of one engine."""

    def __init__(self, engine: UUID) -> None:
        self._engine = engine
        self._waiting: dict[UUID, Waiting] = {}
        """Added to on the loop, taken from in the writer's thread: what belongs together is in one value."""

    def job(self, turn_id: UUID, *, attempt: int, broken_off: BrokenOff | None = None) -> Callable[[], None]:
        """Note that a turn is to be given back, and what call of it was broken off, and return what does it, for the
        writer: unless the job of another has done so, this one does it for all. It raises `Fenced` if the turn is not
        ours any more, and `OperationalError` if somebody has locked it, which keeps back no other."""
        self._waiting[turn_id] = Waiting(attempt, broken_off)
        return partial(self._release, turn_id, attempt=attempt)

    def _release(self, turn_id: UUID, *, attempt: int) -> None:
        if turn_id in self._waiting:
            for released in self._all():
                del self._waiting[released]
        if turn_id in self._waiting:
            engines = status.engines_of(turn_id, attempt=attempt)
            if self._engine in engines:
                raise OperationalError("a turn that is to be given back is locked")
            del self._waiting[turn_id]
            if None not in engines:  # else it is given back already: that commit was not heard of
                raise Fenced

    def _all(self) -> set[UUID]:
        """Give back all that can be; which are."""
        waiting = dict(self._waiting)
        return compaction.release(
            {turn_id: each.attempt for turn_id, each in waiting.items()},
            engine=self._engine,
            lease=chat_settings().lease,
            calls={turn_id: each.broken_off for turn_id, each in waiting.items() if each.broken_off is not None},
        )
