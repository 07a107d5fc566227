"""Who waits for whose threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from llm.types import TextDelta
from streaming.database import READERS, in_order_thread, in_thread
from streaming.orders import Order
from streaming.turns import start_turn


@asynccontextmanager
async def as_many_as_there_is_room_for() -> AsyncIterator[None]:
    """Every thread that reads for viewers is taken, and stays so."""
    over = threading.Event()
    reading = [asyncio.create_task(in_thread(over.wait, 20)) for _ in range(READERS)]
    await asyncio.sleep(0)  # all threads are theirs
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*reading)


async def test_a_turn_begins_however_many_read(stage: Any) -> None:
    on = await stage([[TextDelta(text="Hello."), asyncio.Event()]])

    async with as_many_as_there_is_room_for(), asyncio.timeout(10):
        await in_order_thread(start_turn, on.principal, on.conversation_id, Order(request_id="r", text="hi"))
        while not on.model.requests:  # noqa: ASYNC110 -- who reads would be told, but nobody can
            await asyncio.sleep(0)


async def test_whose_the_turns_are_is_known_soon_however_many_read(stage: Any) -> None:
    on = await stage([])

    async with as_many_as_there_is_room_for(), asyncio.timeout(10):
        await on.engine.tasks._doubts._verify()

    assert on.engine.tasks._doubts.count == 1
