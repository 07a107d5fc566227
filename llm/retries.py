"""Asking again when a call failed before it said anything; never once a viewer may have seen a word."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import msgspec

from llm.deadlines import Deadlines
from llm.errors import ModelError, Stalled
from llm.types import ChatModel, ChatRequest, Delta, Usage

logger = logging.getLogger(__name__)

LONGEST_WAIT = 20.0
"""Seconds. A provider that wants us to wait longer is not waited for: the person can decide that."""
FIRST_PAUSE = 0.5
"""Seconds before the second try; doubled for each further one, plus up to as much again by chance."""


class RetryingModel:
    """A model that is asked up to `tries` times.

    `Stalled` is not repeated: the person has waited a minute by then, and the provider is likely overloaded. All tries
    and pauses together keep to `total` seconds.
    """

    def __init__(
        self, model: ChatModel, *, tries: int, total: float, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._model = model
        self._tries = tries
        self._total = total
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<RetryingModel {self._model!r}>"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The reply of the first try that says something."""
        clock = asyncio.get_running_loop().time
        over_at = clock() + min(self._total, self._total if request.time_limit is None else request.time_limit)
        for number in range(1, self._tries + 1):
            call = msgspec.structs.replace(request, call_id=f"{request.call_id}:{number}", time_limit=over_at - clock())
            has_spoken = False
            try:
                async with aclosing(self._model.stream(call)) as deltas:
                    async for delta in deltas:
                        has_spoken = has_spoken or not isinstance(delta, Usage)
                        yield delta
                return
            except ModelError as error:
                pause = _pause(error, number=number)
                if has_spoken or number == self._tries or pause is None or clock() + pause >= over_at:
                    raise
                logger.info("call %s failed (%s), next try in %.1f s", call.call_id, error.code, pause)
            await self._sleep(pause)

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
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> RetryingModel:
    """`model`, asked up to `tries` times within `total` seconds, but only until it has said something."""
    return RetryingModel(model, tries=tries, total=total, sleep=sleep)


def _pause(error: ModelError, *, number: int) -> float | None:
    """Seconds to wait after try `number`, or None if another makes no sense."""
    if not error.retryable or isinstance(error, Stalled):
        return None
    backoff = FIRST_PAUSE * 2 ** (number - 1) * (1 + random.random())
    pause = max(backoff, error.retry_after or 0.0)
    return pause if pause <= LONGEST_WAIT else None
