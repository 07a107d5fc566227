"""The doorbell between processes: hints that there is something to read, never the text itself.

What is said here may get lost: every hint has a poll behind it that comes to the same some seconds later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import UUID

import msgspec
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from history.conf import chat_settings
from llm.shapes import ready

logger = logging.getLogger(__name__)

GROUP = "verbatim.doorbell"
SIGN_OF_LIFE = 1.0
"""A process that has nothing to tell rings so often, in seconds, to hear whether it would hear others."""
DEAF = 2.5
"""Seconds without hearing anything, itself included, after which the connection is made anew."""
AGAIN = 0.5
"""Seconds between two tries while the layer is away."""


class Ring(msgspec.Struct, omit_defaults=True):
    """What one message says: which conversations have new `events`, and the number of the newest (0: ask), which have
    `drafts` that have grown in the database, which turns are to stop (`stops`), whether one was `released`, and whether
    somebody may have lost a right (`rights`)."""

    sender: str = ""
    events: dict[str, int] = {}
    drafts: set[str] = set()
    stops: set[str] = set()
    released: bool = False
    rights: bool = False


ready(Ring)


class Doorbell:
    """Rings for, and listens to, all processes with the same channel layer, which is nobody else's here. One message is
    on its way at a time; what comes meanwhile goes into the next. Everything but `ring` is for the engine's loop."""

    def __init__(
        self,
        layer: BaseChannelLayer,
        *,
        engine: UUID,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[Ring], None],
    ) -> None:
        self._layer = layer
        self._channel: str | None = None
        self._loop = loop
        self._heard = heard
        self._me = engine.hex
        self._next = Ring(sender=self._me)
        self._rung = asyncio.Event()
        self._is_well = True

    def ring(
        self,
        *,
        event: tuple[UUID, int] | None = None,
        drafts: Iterable[UUID] = (),
        stop: UUID | None = None,
        released: bool = False,
        rights: bool = False,
    ) -> None:
        """Tell the others; may be called from any thread. An event is told by its conversation and number."""
        with suppress(RuntimeError):  # the loop is closed: this process ends
            self._loop.call_soon_threadsafe(self._add, event, tuple(drafts), stop, released, rights)

    async def send(self) -> None:
        """Ring, as long as the process lives."""
        while not _is_cancelled():
            with suppress(TimeoutError):
                async with asyncio.timeout(SIGN_OF_LIFE):
                    await self._rung.wait()
            if not await self.send_now():
                await asyncio.sleep(AGAIN)

    async def send_now(self) -> bool:
        """Ring once, for all that there is to tell; False if that was in vain."""
        ring, self._next = self._next, Ring(sender=self._me)
        self._rung.clear()
        try:
            async with asyncio.timeout(DEAF):
                await self._layer.group_send(GROUP, {"type": "verbatim.ring", "ring": msgspec.to_builtins(ring)})
        except Exception as error:  # whatever the layer raises while it is away; who listens tells of it
            logger.debug("the doorbell could not be rung: %r", error)
            return False
        return True

    async def listen(self) -> None:
        """Hear the others, as long as the process lives."""
        try:
            while not _is_cancelled():
                try:
                    await self._listen()
                except Exception as error:  # whatever the layer raises while it is away
                    if self._is_well:
                        logger.warning("the doorbell is away, what happens elsewhere is polled for: %r", error)
                        self._is_well = False
                await _close(self._layer, within=2 * DEAF)  # what is being sent has its own time-out, and is waited for
                await asyncio.sleep(AGAIN)
        finally:
            await _close(self._layer, within=AGAIN)

    async def _listen(self) -> None:
        async with asyncio.timeout(DEAF):
            if self._channel is not None:  # some layers would go on to keep what is sent there
                await self._layer.group_discard(GROUP, self._channel)
            self._channel = await self._layer.new_channel()
            await self._layer.group_add(GROUP, self._channel)
        while True:
            async with asyncio.timeout(DEAF):
                message = await self._layer.receive(self._channel)
            if not self._is_well:
                logger.warning("the doorbell is back")
                self._is_well = True
            ring = msgspec.convert(message.get("ring"), Ring)
            if ring.sender != self._me:
                self._heard(ring)

    def _add(
        self,
        event: tuple[UUID, int] | None,
        drafts: tuple[UUID, ...],
        stop: UUID | None,
        released: bool,
        rights: bool,
    ) -> None:
        ring = self._next
        if event is not None:
            conversation_id, seq = str(event[0]), event[1]
            told = ring.events.get(conversation_id, seq)
            ring.events[conversation_id] = max(told, seq) if told and seq else 0
        ring.drafts.update(map(str, drafts))
        if stop is not None:
            ring.stops.add(str(stop))
        ring.released |= released
        ring.rights |= rights
        self._rung.set()


def _is_cancelled() -> bool:
    """Whether somebody wants the end of this task. Layers cancel tasks of their own, wait for them, and take our
    cancellation for theirs: then it was raised, and nobody heard of it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _close(layer: BaseChannelLayer, *, within: float) -> None:
    """Close the connections of a layer, which makes new ones when it is used again: a new layer would be kept by the
    loop for as long as that lives. `flush` does it where nothing is kept; anywhere else it would delete what others
    have there."""
    from channels_redis.pubsub import RedisPubSubChannelLayer  # not before there is such a layer

    close = layer.flush if isinstance(layer, RedisPubSubChannelLayer) else getattr(layer, "close_pools", None)
    if close is not None:
        with suppress(Exception):  # whatever the layer raises while it is away
            async with asyncio.timeout(within):
                await close()


def shared() -> BaseChannelLayer | None:
    """The layer that processes share, with connections of our own; None if there is none, so nobody would hear."""
    alias = chat_settings().doorbell_layer
    if alias not in channel_layers.configs or isinstance(channel_layers[alias], InMemoryChannelLayer):
        return None
    return channel_layers.make_backend(alias)
