"""One conversation's socket that stays: it goes on where it broke, backs off, and notices when the line is dead."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from ssl import SSLCertVerificationError
from typing import NoReturn, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from verbatim_client.errors import BadFrame, Busy, Refused, Unreachable, final, of_status
from verbatim_client.frames import Connected, Disconnected, News

logger = logging.getLogger(__name__)
handshakes = logging.getLogger(f"{__name__}.websockets")
handshakes.setLevel(logging.INFO)  # more would be every header, with the key

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second and before a late try."""
RESTART, BAD_CURSOR = 1012, 4400
"""Close codes: the server restarts; it does not know our cursor."""
GOODBYE = 1.0
"""For how many seconds who leaves waits for the server's goodbye."""


class End(Protocol):
    """Whose line it is."""

    refused: Refused | None
    """What the server complained of last on this connection."""
    is_settled: bool
    """Whether this connection has brought everything that was there."""

    def address(self) -> str:
        """Where to connect: asked anew for every try, since the cursor moves."""

    def begin(self) -> Iterable[str]:
        """A new connection stands: what to send on it first."""

    def take(self, text: str | bytes) -> None:
        """A message came. Raises `BadFrame` or `Busy` when another connection should be made."""

    def start_over(self) -> None:
        """The cursor is not known: forget everything."""

    def tell(self, news: News) -> None:
        """The line stands or is lost."""


def wait_before(tries: int, *, chance: Callable[[], float] = random.random) -> float:
    """How many seconds to wait before try number `tries` (1, 2, …) after a connection was lost."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(tries - 1, 16)) * (0.5 + chance() / 2)


class Line:
    """Keeps a connection until it is cancelled, or until there is no point any more.

    `patience`: for how many seconds it may be without one. `silence`: after so many seconds a server that says nothing
    is asked for a sign of life, and given up after as many again.
    """

    def __init__(self, end: End, *, key: str, patience: float, silence: float) -> None:
        self._end = end
        self._headers = {"Authorization": f"Bearer {key}"}
        self._patience = patience
        self._silence = silence
        self._outgoing: asyncio.Queue[str] | None = None
        self._tries = 0
        self._was_there = False  # once it was, a proxy that knows of no server says nothing about the conversation
        self._alive = 0.0

    def send(self, *texts: str) -> None:
        """Hand over to the connection that stands. What is on its way when it breaks is lost."""
        if self._outgoing is not None:
            for text in texts:
                self._outgoing.put_nowait(text)

    async def keep(self) -> None:
        """Never returns. Raises `Unreachable`, or the `Refused` after which there is no coming back."""
        self._alive = asyncio.get_running_loop().time()
        while True:
            why, wait = await self._connection()
            if (mine := asyncio.current_task()) is not None and mine.cancelling():
                raise asyncio.CancelledError  # however the goodbye failed, whoever leaves does not come back
            self._tries = 1 if self._end.is_settled else self._tries + 1
            wait = wait_before(self._tries) if wait is None or self._tries > 1 else wait
            self._end.tell(Disconnected(reason=why, retry_in=wait))
            logger.info("the line is lost: %s; next try in %.1f s", why, wait)
            if asyncio.get_running_loop().time() + wait - self._alive > self._patience:
                raise Unreachable(f"The server could not be reached for {self._patience:.0f} s: {why}")
            await asyncio.sleep(wait)

    async def _connection(self) -> tuple[str, float | None]:
        """One connection, until it ends: why, and how long to wait before the next if that is known."""
        self._end.is_settled, self._end.refused = False, None
        try:
            async with connect(
                self._end.address(),
                additional_headers=self._headers,
                logger=handshakes,
                compression=None,
                max_size=None,  # an event is as large as it is, and would come again
                ping_interval=self._silence,
                ping_timeout=self._silence,
                close_timeout=GOODBYE,
            ) as socket:
                await self._hold(socket)
        except ConnectionClosed as closed:
            return self._closed(closed)
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status < 500 and status != 429 and not self._was_there:
                raise of_status(status, message="The socket was refused") from refused
            return f"the server answered {status}", None
        except SSLCertVerificationError as error:
            raise Unreachable(f"The server's certificate is not valid: {error.verify_message}") from error
        except (OSError, EOFError, InvalidHandshake, BadFrame, Busy) as error:
            return f"{type(error).__name__}: {error}", None
        finally:
            self._outgoing = None
            if self._end.is_settled:
                self._was_there = True
                self._alive = asyncio.get_running_loop().time()

    async def _hold(self, socket: ClientConnection) -> NoReturn:
        """Send and receive until `ConnectionClosed`."""
        self._outgoing = asyncio.Queue()
        self.send(*self._end.begin())
        self._end.tell(Connected())
        sending = asyncio.create_task(_sent(socket, self._outgoing))
        try:
            while True:
                self._end.take(await socket.recv())
        finally:
            sending.cancel()
            await socket.close()  # else, leaving by an exception, we would say that we failed

    def _closed(self, closed: ConnectionClosed) -> tuple[str, float | None]:
        code = closed.rcvd.code if closed.rcvd is not None else None
        reason = final(code or 0, said=self._end.refused)
        if reason is not None:
            raise reason from closed
        if code == BAD_CURSOR:
            self._end.start_over()
        said = self._end.refused or f"closed with {code}" if code else "the connection broke"
        return str(said), random.uniform(0, FIRST_WAIT) if code == RESTART else None


async def _sent(socket: ClientConnection, outgoing: asyncio.Queue[str]) -> None:
    with suppress(ConnectionClosed):
        while True:
            await socket.send(await outgoing.get())
