"""Back-pressure, with a connection that is plain data: nothing is sent, and what is taken is what a test takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streaming.pressure import BOUND, Line, Pace, line_behind

PIECE = {"type": "websocket.send", "text": "é" * 5_000}
SIZE = 10_000


class Connection:
    """What a server does not do until it is told to: send."""

    def __init__(self, *, waits: bool = False) -> None:
        self.unsent = 0
        self.aborted = asyncio.Event()
        self.line = Line(lambda: self.unsent, self.abort, waits)
        self.pace = Pace(self.write, line=self.line)

    async def write(self, message: dict[str, Any]) -> None:
        self.unsent += len(message["text"].encode())

    def abort(self) -> None:
        self.unsent = 0
        self.aborted.set()

    async def fill(self) -> asyncio.Task[None]:
        """Send until there is no more room; who waits for it."""
        while self.unsent <= BOUND:
            await self.pace.send(PIECE)
        return asyncio.ensure_future(_awaited(self.pace, PIECE))


async def _awaited(pace: Pace, message: dict[str, Any]) -> None:
    await pace.send(message)


@pytest.fixture(autouse=True)
def soon(settings: Any) -> None:
    settings.CHAT = {"SEND_TIMEOUT": 0.2}


async def test_what_is_unsent_is_bounded_and_who_waits_goes_on_when_it_is_taken() -> None:
    connection = Connection()

    waiting = await connection.fill()
    await asyncio.wait({waiting}, timeout=0.05)
    held, was_waiting = connection.unsent, not waiting.done()
    connection.unsent = 0
    await waiting

    assert (held <= BOUND + SIZE, was_waiting) == (True, True)
    assert connection.unsent == SIZE


async def test_who_takes_nothing_is_let_go_and_nobody_waits_for_it_any_longer() -> None:
    connection = Connection()

    waiting = await connection.fill()
    async with asyncio.timeout(20):
        await waiting

    assert connection.aborted.is_set()


async def test_who_takes_nothing_of_little_is_let_go_as_well_even_after_the_last_word() -> None:
    connection = Connection()

    await connection.pace.send(PIECE)
    connection.pace.leave()
    async with asyncio.timeout(20):
        await connection.aborted.wait()

    assert connection.unsent == 0


@pytest.mark.parametrize("waits", [False, True])
async def test_who_takes_less_than_comes_is_never_let_go_while_it_takes_something(waits: bool) -> None:
    connection = Connection(waits=waits)
    await connection.pace.send(PIECE)
    let_go = asyncio.ensure_future(connection.aborted.wait())

    for _ in range(20):  # five times as long as one may take nothing
        await connection.pace.send({"type": "websocket.send", "text": "é" * 500})
        await asyncio.wait({let_go}, timeout=0.05)
        connection.unsent -= 990  # it has taken nearly all of that

    assert not let_go.done()
    let_go.cancel()


async def test_a_server_that_is_not_known_keeps_its_own_send() -> None:
    async def send(message: dict[str, Any]) -> None: ...

    assert line_behind(send) is None
