"""Which signals end a process; what they do then is tested with real servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

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
