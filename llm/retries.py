"""Asking again when a call failed before it said anything; never once a viewer may have seen a word."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec

from llm.deadlines import Deadlines
from llm.errors import ModelError, Stalled
from llm.types import ChatModel, ChatRequest, Delta, Deltas, Usage

logger = logging.getLogger(__name__)

Sleep: TypeAlias = Callable[[float], Awaitable[object]]

LONGEST_WAIT = 20.0
"""Seconds. A provider that wants us to wait longer is not waited for: the person can decide that."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; doubled for each further one, plus up to `JITTER` of it by chance."""
JITTER = 0.25
"""Small enough that each pause is clearly longer than the one before, whatever chance adds to either."""


class RetryingModel:
    """A model that is asked up to `tries` times.

    `Stalled` is not repeated: the person has waited a minute by then, and the provider is likely overloaded. All tries
    and pauses together keep to `total` seconds.
    """

    def __init__(self, model: ChatModel, *, tries: int, total: float, sleep: Sleep) -> None:
        self._model = model
        self._tries = tries
        self._total = total
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<RetryingModel {self._model!r}>"

    def stream(self, request: ChatRequest) -> Deltas:
        """The reply of the first try that says something."""
        total = self._total if request.time_limit is None else min(self._total, request.time_limit)
        return RetriedReply(self._model, request, tries=self._tries, total=total, sleep=self._sleep)

    async def aclose(self) -> None:
        """Close what the model keeps open, where it keeps anything."""
        close = getattr(self._model, "aclose", None)
        if close is not None:
            await close()


def with_retries(
    model: ChatModel,
    *,
    tries: int = 3,
    total: float = Deadlines.total,
    sleep: Sleep = asyncio.sleep,
) -> RetryingModel:
    """`model`, asked up to `tries` times within `total` seconds, but only until it has said something."""
    return RetryingModel(model, tries=tries, total=total, sleep=sleep)


class RetriedReply:
    """The deltas of the first try that says something, the one of that `number`. From its first word on they are read
    from the model as if nobody stood in between: another generator around every token would cost as much as what the
    token is decoded with."""

    def __init__(self, model: ChatModel, request: ChatRequest, *, tries: int, total: float, sleep: Sleep) -> None:
        self._model = model
        self._request = request
        self._tries = tries
        self._sleep = sleep
        self._clock = asyncio.get_running_loop().time
        self._over_at = self._clock() + total
        self.number = 0
        self._deltas = self._next_try()
        self._has_spoken = False

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    def __anext__(self) -> Awaitable[Delta]:
        return self._deltas.__anext__() if self._has_spoken else self._first()

    def aclose(self) -> Awaitable[object]:
        """Close the model's stream."""
        return self._deltas.aclose()

    async def _first(self) -> Delta:
        """The next delta of a model that has not spoken yet."""
        while True:
            try:
                delta = await anext(self._deltas)
            except ModelError as error:
                pause = _pause(error, number=self.number)
                if self.number == self._tries or pause is None or self._clock() + pause >= self._over_at:
                    raise
                logger.info(
                    "call %s:%d failed (%s), next try in %.1f s", self._request.call_id, self.number, error.code, pause
                )
            else:
                self._has_spoken = not isinstance(delta, Usage)
                return delta
            await self._sleep(pause)
            self._deltas = self._next_try()

    def _next_try(self) -> Deltas:
        self.number += 1
        call_id, time_limit = f"{self._request.call_id}:{self.number}", self._over_at - self._clock()
        return self._model.stream(msgspec.structs.replace(self._request, call_id=call_id, time_limit=time_limit))


def _pause(error: ModelError, *, number: int) -> float | None:
    """Seconds to wait after try `number`, or None if another makes no sense."""
    if not error.retryable or isinstance(error, Stalled):
        return None
    backoff = FIRST_PAUSE * 2 ** (number - 1) * (1 + JITTER * random.random())
    pause = max(backoff, error.retry_after or 0.0)
    return pause if pause <= LONGEST_WAIT else None
