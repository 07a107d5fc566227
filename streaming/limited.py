"""A model that is asked only while something is left of the day's limits: the wrapper around whatever costs money."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from access import holds, limits
from access.holds import Amount
from access.limits import Payer
from access.models import Hold
from history.calls import Price, tokens
from history.compaction import Place
from history.context import estimate_of
from llm.errors import REFUSALS, ModelError
from llm.types import ChatModel, ChatRequest, Delta, ReasoningDelta, TextDelta, ToolCallDelta, Usage

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Writes(Protocol):
    """Has something written in another thread, in the order asked, also when nobody waits for it: `Writer.run`."""

    def __call__(self, write: Callable[[], T], /) -> Future[T]: ...


class LimitedModel:
    """Holds the most that a call may use before it is made, and settles afterwards with what it did use: as the
    provider counts it, else as the text says that came."""

    def __init__(
        self,
        model: ChatModel,
        *,
        place: Place,
        payer: Payer,
        accounts: tuple[int, ...],
        window: int,
        cost: Price,
        run: Writes,
    ) -> None:
        self._model = model
        self._place = place
        self._payer = payer
        self._accounts = accounts
        self._window = window
        self._cost = cost
        self._run = run

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The reply. Raises `QuotaExceeded` instead of asking."""
        hold = await self._reserve(request)
        said = Said(request)
        try:
            async with aclosing(self._model.stream(request)) as deltas:
                async for delta in deltas:
                    said.add(delta)
                    yield delta
        except ModelError as error:
            said.is_refused = isinstance(error, REFUSALS)
            raise
        finally:  # not waited for: what is asked later, is written later
            self._settle(hold, used=said.usage())

    async def _reserve(self, request: ChatRequest) -> Hold:
        hold = limits.hold_for(
            self._payer,
            self._accounts,
            turn_id=self._place.turn_id,
            attempt=self._place.attempt,
            most=self._amount(most(request, window=self._window)),
            prompt=self._amount(Usage(prompt=estimate_of(request))),
        )
        reserving = self._run(partial(limits.reserve, self._payer, hold))
        try:
            await asyncio.wrap_future(reserving)
        except asyncio.CancelledError:  # nobody waits any more for what is held
            reserving.add_done_callback(lambda _: self._settle(hold, used=Usage()))
            raise
        return hold

    def _settle(self, hold: Hold, *, used: Usage) -> None:
        settling = self._run(partial(holds.settle, hold, used=self._amount(used)))
        settling.add_done_callback(_log_failure)

    def _amount(self, used: Usage) -> Amount:
        return Amount(used.prompt + used.completion, self._cost(used) or Decimal(0))


def with_limits(
    model: ChatModel, *, place: Place, payer: Payer, accounts: tuple[int, ...], window: int, cost: Price, run: Writes
) -> ChatModel:
    """`model`, for as long as something is left on these accounts of the payer of this turn; itself if there are none.
    `window` is its context window in tokens."""
    if not accounts:
        return model
    return LimitedModel(model, place=place, payer=payer, accounts=accounts, window=window, cost=cost, run=run)


class Said:
    """What is known of a call's usage while it goes on."""

    def __init__(self, request: ChatRequest) -> None:
        self.is_refused = False
        self._request = request
        self._reported: Usage | None = None
        self._length = 0

    def add(self, delta: Delta) -> None:
        """Take in the next delta. Cheap: called per fragment."""
        match delta:
            case TextDelta(text=text) | ReasoningDelta(text=text) | ToolCallDelta(arguments=text):
                self._length += len(text)
            case Usage(prompt=prompt, completion=completion) if prompt or completion:
                self._reported = delta
            case _:
                pass  # also a report of nothing: there are servers that have the fields and never fill them

    def usage(self) -> Usage:
        """As the provider reported it, else estimated; nothing for a call that was refused."""
        if self._reported is not None:
            return self._reported
        if self.is_refused and not self._length:
            return Usage()
        return Usage(prompt=estimate_of(self._request), completion=tokens(self._length))


def most(request: ChatRequest, *, window: int) -> Usage:
    """The most that a call may use: no token is shorter than a byte, and no call uses more than the context window."""
    size = len(msgspec.json.encode(request.messages)) + len(msgspec.json.encode(request.tools))
    prompt = min(size, window)
    reply = request.sampling.max_tokens or window - estimate_of(request)
    return Usage(prompt=prompt, completion=max(0, min(reply, window)))


def _log_failure(settling: Future[Any]) -> None:
    error = settling.exception()
    if error is not None:
        logger.error("what a call has used could not be noted; it is estimated when its turn has ended", exc_info=error)
