"""Which signals end a process; what they do then is tested with real servers."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from access.profiles import registry
from llm.registry import Way
from llm.retries import with_retries
from llm.types import ChatRequest, Delta, TextDelta
from streaming.doorbell import Doorbell
from streaming.engine import Engine
from streaming.signals import end_with_signals

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def handlers() -> Iterator[None]:
    """The test may change them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def engine() -> Iterator[Engine]:
    loop = asyncio.new_event_loop()
    yield Engine(loop)
    loop.close()


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored(engine: Engine) -> None:
    """Else a server in the background of a script would drain at Ctrl-C, and then stay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    end_with_signals(engine)

    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert callable(signal.getsignal(signal.SIGTERM))


class Hangs(InMemoryChannelLayer):  # type: ignore[misc]  # it has no types
    """A layer, and a model, that never comes to an end of anything."""

    async def group_send(self, group: str, message: Any) -> None:
        await asyncio.Event().wait()

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        await asyncio.Event().wait()
        yield TextDelta(text="Never.")

    async def aclose(self) -> None:
        await asyncio.Event().wait()


async def test_a_process_ends_whatever_hangs(stage: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis, a provider's connection, a request, the database."""
    settings.CHAT = {**settings.CHAT, "MAX_TURNS": 100}  # these have a registry of their own
    monkeypatch.setattr("streaming.engine.HASTE", 0.3)
    on = await stage([])
    engine, goes_on = on.engine, threading.Event()
    engine.doorbell = Doorbell(Hangs(), engine=engine.id, loop=engine.loop, heard=lambda ring: None)
    registry()._models[Way("direct", "hangs", "", "", public_only=False)] = with_retries(Hangs(), total=1.0)
    request = asyncio.create_task(asyncio.Event().wait())
    engine.requests.add(request)
    write = engine.writer.run(goes_on.wait)

    async with asyncio.timeout(10):
        await engine.drain(patience=0.0)

    assert not request.done()
    assert not write.done()
    goes_on.set()
    request.cancel()
    registry()._models.clear()


@pytest.mark.usefixtures("handlers")
async def test_an_end_that_breaks_off_is_heard_of(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The server ends all the same."""
    on = await stage([])
    ended = asyncio.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: ended.set())
    end_with_signals(on.engine)
    on.engine.requests.add("nothing that can be waited for")

    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await ended.wait()
    await asyncio.sleep(0)  # it is told

    [line] = (record for record in caplog.records if record.levelname == "CRITICAL")
    assert line.getMessage() == "verbatim drain has died"
    assert line.exc_info
    on.engine.requests.clear()
