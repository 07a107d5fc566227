"""What conversations show beside their log, looked at again whenever something may have changed it.

Nobody who changes anything has to say what: one look reads the whole state of all conversations that were heard of, and
viewers are told of the difference. Once in a while all are looked at, whoever changed them and however.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from uuid import UUID

from history.conf import chat_settings
from history.states import states
from streaming.database import in_thread
from streaming.tail import Tail

logger = logging.getLogger(__name__)

BREATH = 0.05
"""Seconds between two looks: what is heard in them is looked at together."""


class States:
    """What to look at next. Lives on the engine's loop."""

    def __init__(self, tails: Mapping[UUID, Tail]) -> None:
        self._tails = tails
        self._heard: set[UUID] = set()
        self._rung = asyncio.Event()

    def hear(self, conversation_ids: Iterable[UUID]) -> None:
        """Something has happened in these. Until they are looked at, who comes must read for themselves."""
        for conversation_id in conversation_ids:
            tail = self._tails.get(conversation_id)
            if tail is not None:
                tail.state = None
                self._heard.add(conversation_id)
                self._rung.set()

    async def keep(self) -> None:
        """Look as long as the process lives: at what was heard of and, however much that is, at all once in a while."""
        loop = asyncio.get_running_loop()
        due = loop.time() + chat_settings().position_poll
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._rung.wait()
            self._rung.clear()
            asked, self._heard = self._heard, set()
            if loop.time() >= due:
                asked, due = set(self._tails), loop.time() + chat_settings().position_poll
            try:
                await self._look(asked)
            except Exception:  # the top of a task that must go on whatever one look meets
                logger.exception("could not look at what conversations show; trying again")
            await asyncio.sleep(BREATH)

    async def _look(self, asked: Iterable[UUID]) -> None:
        followed = [each for each in asked if (tail := self._tails.get(each)) is not None and tail.viewers]
        found = await in_thread(states, followed) if followed else {}
        for conversation_id, state in found.items():
            tail = self._tails.get(conversation_id)
            if tail is not None:
                tail.show(state)
