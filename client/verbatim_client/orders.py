"""What was ordered and not yet answered: sent again, word for word, on every new connection; pure, no I/O."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from verbatim_client.errors import Busy, InvalidRequest, VerbatimError, refusal
from verbatim_client.frames import Accepted, Error, Frame, Pong

ABOUT_THE_LINE = frozenset({"access_ended", "unauthenticated", "draining", "busy"})
"""Codes that, without a request id, say why the socket is about to be closed."""


@dataclass(slots=True)
class Order:
    """Something the server was told to do. `answer` will be the turn's id."""

    texts: tuple[str, ...]
    request_id: str | None
    """None: it is a stop."""
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def send(text: str | None, *, model: str | None, replaces: str | None, request_id: str | None) -> Order:
    """Start a turn. The request id stays the same however often it is sent, so that it is answered once."""
    request_id = request_id or uuid4().hex
    said = {"text": text, "model": model, "replaces": replaces}
    frame = {
        "type": "send",
        "request_id": request_id,
        **{key: value for key, value in said.items() if value is not None},
    }
    return Order((json.dumps(frame),), request_id)


def stop(turn: str) -> Order:
    """Stop a turn. A server does not answer a stop that it obeys, but answers in order: the pong says it has."""
    try:
        frame = {"type": "stop", "turn": str(UUID(turn))}
    except ValueError:
        raise InvalidRequest("A turn's id is a UUID.") from None
    return Order((json.dumps(frame), json.dumps({"type": "ping"})), None)


class Orders:
    """The unanswered ones, oldest first: the server answers in that order."""

    def __init__(self) -> None:
        self._waiting: list[Order] = []

    def add(self, order: Order) -> None:
        """It was sent, or will be on the next connection."""
        self._waiting.append(order)

    def again(self) -> list[str]:
        """All there is to send on a new connection; what nobody waits for any more is not."""
        self._waiting = [order for order in self._waiting if not order.answer.done()]
        return [text for order in self._waiting for text in order.texts]

    def take(self, frame: Frame) -> None:
        """Hand an answer to whoever waits for it. Raises `Busy` when it should be asked for on another connection."""
        match frame:
            case Accepted(request_id=request_id, turn=turn):
                self._settle(self._sent(request_id), turn)
            case Pong():
                self._settle(next((order for order in self._waiting if order.request_id is None), None), "")
            case Error(request_id=None, code=code) if code in ABOUT_THE_LINE:
                pass
            case Error(code="draining"):
                raise Busy(frame.message, code=frame.code, request_id=frame.request_id)
            case Error(request_id=None):
                self._refuse(self._waiting[0] if self._waiting else None, frame)
            case Error(request_id=request_id):
                self._refuse(self._sent(request_id), frame)

    def fail(self, error: VerbatimError) -> None:
        """Nothing will be answered any more."""
        for order in self._waiting:
            if not order.answer.done():
                order.answer.set_exception(error)
        self._waiting = []

    def _sent(self, request_id: str | None) -> Order | None:
        return next((order for order in self._waiting if order.request_id == request_id), None)

    def _refuse(self, order: Order | None, frame: Error) -> None:
        if order is not None:
            request_id = frame.request_id or order.request_id
            error = refusal(frame.code, frame.message, request_id=request_id, turn=frame.turn)
            self._settle(order, error)

    def _settle(self, order: Order | None, answer: str | VerbatimError) -> None:
        if order is None:
            return
        self._waiting.remove(order)
        if order.answer.done():  # nobody waits any more
            return
        if isinstance(answer, str):
            order.answer.set_result(answer)
        else:
            order.answer.set_exception(answer)
