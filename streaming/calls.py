"""The model calls of a turn, measured: a wrapper around the model that does nothing per token.

A call's end is for whoever stores it to take: it is told in the transaction that ends the hop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple

import msgspec

from history.calls import Call, Price, tokens
from history.contents import Exchange, packed
from history.context import estimate_of
from history.draft import Draft
from history.events import Outcome, TurnError
from llm.errors import REFUSALS
from llm.retries import RetriedReply
from llm.types import ChatModel, ChatRequest, Delta, Deltas, Usage
from streaming.estimates import Estimated, from_afar

logger = logging.getLogger(__name__)


class Asking(NamedTuple):
    """What is asked: a model by the name its profile gives it, its context window in tokens, and what it costs."""

    model: str
    context_window: int
    price: Price


class MeasuredModel:
    """A model that is asked one call at a time, of which the last can be taken when it is over."""

    def __init__(self, model: ChatModel, asking: Asking) -> None:
        self._model = model
        self._asking = asking
        self._reply: MeasuredReply | None = None
        self.asked: ChatRequest | None = None
        """The request of the call that was taken last."""

    def stream(self, request: ChatRequest) -> Deltas:
        """The reply."""
        self._reply = MeasuredReply(self._model.stream(request), request)
        return self._reply

    def heard(self, usage: Usage) -> None:
        """The provider says what the call has used. There are servers that have the fields and never fill them."""
        if self._reply is not None and (usage.prompt or usage.completion):
            self._reply.usage = usage

    def estimated(self, draft: Draft) -> Estimated:
        """What the call in progress, whose draft this is, has used so far."""
        reply = self._reply
        if reply is None:
            return from_afar(draft)
        usage, elapsed = Usage(prompt=reply.prompt, completion=tokens(draft.said)), reply.until(time.monotonic())
        spoken = None if reply.spoke is None else time.monotonic() - reply.spoke
        return Estimated(
            draft,
            draft.said,
            usage.completion,
            usage_id=reply.request.usage_id,
            prompt=usage.prompt,
            cost=self._asking.price(usage),
            elapsed_ms=elapsed,
            tokens_per_second=round(usage.completion / spoken, 1) if spoken else None,
        )

    def take(
        self,
        outcome: Outcome,
        *,
        said: int,
        attempt: int | None = None,
        hop: int | None = None,
        finish_reason: str | None = None,
        error: TurnError | None = None,
    ) -> Call | None:
        """The call that has ended so, `said` code points long; None if it has been taken, or none was made."""
        reply, self._reply = self._reply, None
        if reply is None:
            return None
        self.asked = reply.request
        usage = reply.used(said)
        return Call(
            model=self._asking.model,
            context_window=self._asking.context_window,
            outcome=outcome,
            usage=usage,
            usage_id=reply.request.usage_id,
            attempt=attempt,
            hop=hop,
            is_estimated=reply.usage is None and not reply.is_refused,
            cost=self._asking.price(usage),
            started_at=reply.started_at,
            latency_ms=reply.until(reply.ended or time.monotonic()),
            first_token_ms=reply.until(reply.spoke),
            retries=reply.retries,
            finish_reason=finish_reason,
            error=error,
        )


class MeasuredReply:
    """The deltas of one call. From its first word on they are read from the model as if nobody stood in between."""

    def __init__(self, deltas: Deltas, request: ChatRequest) -> None:
        self.request = request
        self.started_at = datetime.now(UTC)
        self.spoke: float | None = None
        self.ended: float | None = None
        self.usage: Usage | None = None
        self.is_refused = False
        self._deltas = deltas
        self._began = time.monotonic()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    def __anext__(self) -> Awaitable[Delta]:
        return self._first() if self.spoke is None else self._deltas.__anext__()

    async def aclose(self) -> None:
        """Close the model's stream."""
        self.ended = time.monotonic()
        await self._deltas.aclose()

    @property
    def retries(self) -> int:
        """How often it had to be asked again."""
        return self._deltas.number - 1 if isinstance(self._deltas, RetriedReply) else 0

    @cached_property
    def prompt(self) -> int:
        """About how many tokens were sent."""
        return estimate_of(self.request)

    def used(self, said: int) -> Usage:
        """As the provider reported it, else estimated; nothing if it refused."""
        if self.usage is not None:
            return self.usage
        if self.is_refused:
            return Usage()
        return Usage(prompt=self.prompt, completion=tokens(said))

    def until(self, moment: float | None) -> int | None:
        """Milliseconds from the beginning to then."""
        return None if moment is None else round((moment - self._began) * 1000)

    async def _first(self) -> Delta:
        try:
            delta = await anext(self._deltas)
        except REFUSALS:
            self.is_refused = True
            raise
        if not isinstance(delta, Usage):
            self.spoke = time.monotonic()
        return delta


async def with_content(call: Call, exchange: Exchange) -> Call:
    """The call with what was asked and answered. That it cannot be packed is no reason for a turn to fail."""
    try:
        return msgspec.structs.replace(call, content=await asyncio.to_thread(packed, exchange))
    except Exception:
        logger.exception("what call %s was asked cannot be kept", exchange.request.call_id)
        return call
