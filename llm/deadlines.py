"""How long a model may keep us waiting, and the watch that ends a call which does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from llm.errors import ModelError, Stalled, TimedOut


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """All in seconds. `ending` bounds the wait for usage and the end of the body once the finish reason is known."""

    connect: float = 10
    first_token: float = 60
    stall: float = 30
    total: float = 600
    ending: float = 5


class Watch:
    """Ends one call when its model keeps silent, or when its time is up.

    Only tokens satisfy the first-token deadline, and only events count against a stall: a comment says that the
    connection lives, not that the model speaks. Time during which nobody asks the model for more is not held against
    it, except in the total.

    There is one timer, which is moved when it fires and not per token: at that moment the stamp of the last sign of
    life says whether the model is really late. What it does is to call `close` and to leave the reason in `expired`;
    it cancels no task, because a generator's caller may be awaiting something else by then.
    """

    def __init__(self, deadlines: Deadlines, *, time_limit: float | None = None) -> None:
        """`time_limit` in seconds shortens the total."""
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._over_at = now + min(deadlines.total, deadlines.total if time_limit is None else time_limit)
        self._first_at: float | None = now + deadlines.first_token
        self.deadlines = deadlines
        self._patience = deadlines.stall
        self._asked_at: float | None = None
        self._close: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.expired: ModelError | None = None

    @property
    def opens_until(self) -> float:
        """When, by the loop's clock, the answer must at least have begun."""
        return min(self._over_at, self._first_at or self._over_at)

    def late(self) -> ModelError:
        """The error for a call that is late now."""
        return TimedOut() if self._loop.time() >= self._over_at else Stalled()

    @property
    def due(self) -> float:
        """When, by the loop's clock, the call is late if nothing comes from now on."""
        if self._first_at is not None:
            return min(self._over_at, self._first_at)
        since = self._loop.time() if self._asked_at is None else self._asked_at
        return min(self._over_at, since + self._patience)

    def start(self, close: Callable[[], None]) -> None:
        """From now on, call `close` when a deadline passes."""
        self._close = close
        self._arm()

    def ask(self) -> None:
        """We wait for the model. Asking again without an answer does not give it more time."""
        if self._asked_at is None:
            self._asked_at = self._loop.time()

    def heard(self) -> None:
        """An event has come."""
        self._asked_at = None

    def speaks(self) -> None:
        """Tokens have come; from now on the stall counts."""
        if self._first_at is not None:
            self._first_at = None
            self._arm()

    def ends(self, within: float) -> None:
        """The model has said all; only formalities may come, `within` this many seconds."""
        if within < self._patience or self._first_at is not None:
            self._first_at = None
            self._patience = min(within, self._patience)
            self._arm()

    def stop(self) -> None:
        """The call is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._close is not None:
            self._timer = self._loop.call_at(self.due, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._loop.time() < self.due:
            self._arm()
        elif self._close is not None:
            self.expired = self.late()
            self._close()
