"""What runs beside the turns does not die unheard."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from typing import Any

import pytest

from streaming.chores import have_done
from streaming.hub import Hub


async def test_a_chore_that_dies_is_heard_of(
    stage: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(hub: Hub) -> None:
        raise ArithmeticError

    settings.CHAT = {**settings.CHAT, "HEARTBEAT": 0.02}
    monkeypatch.setattr(Hub, "_look_for_expired", breaks)
    on = await stage([])
    [chore] = (chore for chore in on.engine._chores if "keep_time" in chore.get_name())

    async with asyncio.timeout(10):
        await asyncio.wait({chore})

    [line] = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert line.getMessage() == "verbatim keep_time has died"
    assert line.exc_info
    assert line.exc_info[0] is ArithmeticError


async def test_chores_that_are_ended_are_not_said_to_have_died(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    on = await stage([])

    await on.engine.drain(patience=0.0)
    await asyncio.wait(on.engine._chores, timeout=10)

    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_an_interrupt_is_not_said_to_be_a_death(caplog: pytest.LogCaptureFixture) -> None:
    """A server's handler of Ctrl-C may raise one in the task that ends the process."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    with closing(asyncio.new_event_loop()) as loop:
        task = have_done(interrupted(), loop=loop, name="drain")
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(0))  # it would be told

    assert caplog.records == []
