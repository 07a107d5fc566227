"""Conversations that are followed here while their turns run elsewhere: what is new in the database, for all at once.

One look per tick, or whenever the doorbell rings, feeds the live tails; so it costs the same for one viewer as for a
thousand, and nothing while nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from uuid import UUID

from history.conf import chat_settings
from history.news import Known, news
from streaming.database import patiently
from streaming.tail import Tail

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Conversations that one look asks for."""
BREATH = 0.1
"""The pause between two looks, as a share of a tick: who rings in it is answered together."""


class Watch:
    """What to look at next. Lives on the engine's loop."""

    def __init__(self, tails: Mapping[UUID, Tail]) -> None:
        self._tails = tails
        self._watched: dict[UUID, None] = {}
        """In order, so that when there are many, each has its turn."""
        self._rung = asyncio.Event()

    def add(self, conversation_id: UUID) -> None:
        """Look at this one from now on, as long as a turn is in progress there."""
        self._watched[conversation_id] = None

    def hear(self, conversation_ids: Iterable[UUID]) -> None:
        """There is something new in these: look at once at those that are followed here."""
        heard = [conversation_id for conversation_id in conversation_ids if conversation_id in self._tails]
        if heard:
            self._watched.update(dict.fromkeys(heard))
            self._rung.set()

    async def keep(self) -> None:
        """Look, as long as the process lives."""
        rung = False
        while True:
            tick = chat_settings().batch_interval
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * tick if rung else tick):  # where there is a bell, it comes first
                    await self._rung.wait()
            rung = self._rung.is_set()
            self._rung.clear()
            asked = list(islice(self._watched, AT_ONCE))
            if asked:
                for conversation_id in asked:
                    del self._watched[conversation_id]
                try:
                    again = await self._look(asked)
                except Exception:  # the top of a task that must go on whatever one look meets
                    logger.exception("could not look for what happens elsewhere; trying again")
                    again = asked
                self._watched.update(dict.fromkeys(again))
                if len(self._watched) > AT_ONCE:
                    self._rung.set()
                await asyncio.sleep(tick * BREATH)

    async def _look(self, asked: Iterable[UUID]) -> list[UUID]:
        """Feed the tails of these conversations; which of them are to be looked at again."""
        known = {
            conversation_id: Known(tail.last if tail.base is not None else None, tail.draft)
            for conversation_id in asked
            if (tail := self._tails.get(conversation_id)) is not None
        }
        if not known:
            return []
        found = await patiently(partial(news, known), patience=math.inf)
        again = []
        for conversation_id in known:
            tail = self._tails.get(conversation_id)
            if tail is None:
                continue
            fresh = found.get(conversation_id)
            if fresh is None:
                tail.vanish()
            elif tail.take(fresh) or (fresh.active and not tail.live):
                again.append(conversation_id)
        return again
