"""Turns that a process gives back. All that wait for the writer at the same time go in one transaction: who ends has
little time, and may have hundreds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.db import OperationalError

from history import compaction, status
from history.compaction import BrokenOff
from history.conf import chat_settings
from history.errors import Fenced


class Releases:
    """Those of one engine."""

    def __init__(self, engine: UUID) -> None:
        self._engine = engine
        self._waiting: dict[UUID, int] = {}
        """The attempts of turns that are to be given back."""
        self._calls: dict[UUID, BrokenOff] = {}
        """What is to be told of some of them."""

    def job(self, turn_id: UUID, *, attempt: int, broken_off: BrokenOff | None = None) -> Callable[[], None]:
        """Note that a turn is to be given back, and what call of it was broken off, and return what does it, for the
        writer: unless the job of another has done so, this one does it for all. It raises `Fenced` if the turn is not
        ours any more, and `OperationalError` if somebody has locked it, which keeps back no other."""
        self._waiting[turn_id] = attempt
        if broken_off is not None:
            self._calls[turn_id] = broken_off
        return partial(self._release, turn_id, attempt=attempt)

    def _release(self, turn_id: UUID, *, attempt: int) -> None:
        if turn_id in self._waiting:
            lease = chat_settings().lease
            for released in compaction.release(
                dict(self._waiting), engine=self._engine, lease=lease, calls=dict(self._calls)
            ):
                self._forget(released)
        if turn_id in self._waiting:
            engines = status.engines_of(turn_id, attempt=attempt)
            if self._engine in engines:
                raise OperationalError("a turn that is to be given back is locked")
            self._forget(turn_id)
            if None not in engines:  # else it is given back already: that commit was not heard of
                raise Fenced

    def _forget(self, turn_id: UUID) -> None:
        del self._waiting[turn_id]
        self._calls.pop(turn_id, None)
