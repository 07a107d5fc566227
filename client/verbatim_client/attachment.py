"""What holds a conversation together: the line feeds the log, the orders, and whoever follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from urllib.parse import quote
from weakref import WeakSet

from verbatim_client.completion_logs import CompletionLogs
from verbatim_client.errors import ConversationClosed, Refused, VerbatimError, refusal
from verbatim_client.following import Follower, Listeners
from verbatim_client.frames import Error, Event, Frame, News, Reset, parse
from verbatim_client.line import Line
from verbatim_client.log import Log
from verbatim_client.orders import Order, Orders
from verbatim_client.state import State

logger = logging.getLogger(__name__)


class Attachment:
    """The end of a line that is ours, of the conversation whose socket is at `address`. `logs` writes them down."""

    def __init__(
        self,
        address: str,
        *,
        key: str,
        patience: float,
        silence: float,
        listeners: Listeners,
        logs: CompletionLogs | None,
    ) -> None:
        self.log = Log()
        self.state = State()
        self._listeners = listeners
        self.ended: VerbatimError | None = None
        self.refused: Refused | None = None
        self.is_settled = False
        self._address = address
        self._logs = logs
        self._orders = Orders()
        self._followers: WeakSet[Follower] = WeakSet()
        self._ready = asyncio.Event()
        self._line = Line(self, key=key, patience=patience, silence=silence)
        self._keeping = asyncio.create_task(self._keep(), name=f"verbatim line to {address}")

    async def until_caught_up(self) -> None:
        """Raises what the conversation ended with before that."""
        await self._ready.wait()
        if self.ended is not None:
            raise self.ended

    async def close(self) -> None:
        """Leave; whoever still waits gets `ConversationClosed`."""
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        self._end(ConversationClosed("This conversation was closed here."))

    async def order(self, order: Order) -> str:
        """Its answer, over as many lines as it takes. Raises `Refused`, and what the conversation ends with."""
        if self.ended is not None:
            raise self.ended
        self._orders.add(order)
        self._line.send(*order.texts)
        return await order.answer

    def follow(self, *, turn: str | None, after: int | None) -> Follower:
        """Frames from now on, or from an earlier place."""
        if turn is not None:
            after = next((event.seq - 1 for event in self.log.of_turn(turn)), len(self.log.events))
        follower = Follower(self.log.replay(after=after) if after is not None else (), turn=turn)
        if self.ended is not None:
            follower.end(self.ended)
        self._followers.add(follower)
        return follower

    def address(self) -> str:
        """Where to go on."""
        content = "&logs=content" if self._logs is not None and self._logs.with_content else ""
        return f"{self._address}?after={quote(self.log.cursor)}{content}"

    def begin(self) -> Iterable[str]:
        """A new connection stands: what was not answered is asked again."""
        self.log.reconnected()
        self.state.reconnected()
        return self._orders.again()

    def take(self, text: str | bytes) -> None:
        """A message from the server. Raises `BadFrame` and `Busy`."""
        frame = parse(text)
        if isinstance(frame, Error):
            self.refused = refusal(frame.code, frame.message, request_id=frame.request_id, turn=frame.turn)
        self._show(frame)
        self._orders.take(frame)
        if self.log.is_caught_up:
            self.is_settled = True
            self._ready.set()

    def start_over(self) -> None:
        """The server does not know our cursor."""
        self._show(Reset(cursor="0.0"))
        self.log.cursor = ""

    def tell(self, news: News) -> None:
        """The line stands or is lost."""
        self._listeners.tell(news)

    def _show(self, frame: Frame) -> None:
        fresh = self.log.add(frame)
        if fresh is None:
            return
        self.state.take(fresh)
        if self._logs is not None and isinstance(fresh, Event):
            self._logs.take(fresh)
        for follower in list(self._followers):
            follower.tell(fresh)
        self._listeners.tell(fresh)

    async def _keep(self) -> None:
        try:
            await self._line.keep()
        except VerbatimError as error:
            self._end(error)
        except Exception as error:  # the top of the line's task
            logger.exception("the line failed")
            self._end(VerbatimError(f"The client failed: {error!r}"))

    def _end(self, error: VerbatimError) -> None:
        if self.ended is not None:
            return
        self.ended = error
        self._orders.fail(error)
        for follower in list(self._followers):
            follower.end(error)
        self._ready.set()
