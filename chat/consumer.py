"""The socket of one conversation: takes orders, shows what happens. Turns run in the engine, not here."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import Any, assert_never
from urllib.parse import parse_qs
from uuid import UUID

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer

from access import selectors
from access.contents import require_contents
from access.errors import AccessEnded
from access.principals import Principal, Scope
from access.sockets import OriginRefused, principal_for_scope
from chat.close import BY_CODE, Close
from history.conf import chat_settings
from history.connections import AWAY
from history.errors import ChatError
from streaming import engine, metrics, turns
from streaming.contents import with_contents
from streaming.cursor import Cursor, parse
from streaming.database import in_order_thread, in_thread
from streaming.errors import Busy, InvalidRequest, TurnActive
from streaming.follow import follow
from streaming.frames import Accepted, AnyClientFrame, Error, Ping, Pong, Send, ServerFrame, Stop, decode, encode
from streaming.orders import Order
from web.parsing import depth_exceeds

logger = logging.getLogger(__name__)


class ConversationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """`/ws/conversations/<id>/?after=<cursor>&logs=content`"""

    channel_layer_alias = "none"  # no such layer: viewers are woken in process, a channel per socket would be waste

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The life of a socket."""
        with metrics.SOCKETS.track_inprogress():
            await super().__call__(scope, receive, send)

    async def connect(self) -> None:
        """Check who asks for what, then follow. A refusal that a browser is to understand needs an open socket."""
        self._viewing: asyncio.Task[None] | None = None
        self._is_over = False
        self._conversation_id: UUID = self.scope["url_route"]["kwargs"]["conversation_id"]
        try:
            asked = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
            self._whole = "logs" in asked
            self._principal = await in_thread(_admit, self.scope, self._conversation_id, logs=asked.get("logs"))
            after = parse(asked.get("after", [""])[0])
        except OriginRefused:
            await self.close()
            return
        except (ChatError, *AWAY) as error:
            await self.accept()
            await self._end(_told(error))
            return
        await self.accept()
        self._viewing = asyncio.create_task(self._view(after), name=f"verbatim viewer {self._conversation_id}")

    async def disconnect(self, code: int) -> None:
        """Nobody looks any more; the turn goes on."""
        if self._viewing is not None:
            self._viewing.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """One frame from the client. Whatever is wrong with it, the socket stays open."""
        if self._viewing is None:
            return
        frame: AnyClientFrame | None = None
        try:
            frame = _decoded(text_data)
            await self._show(await self._obey(frame))
        except AccessEnded as error:
            await self._end(error)
        except (ChatError, *AWAY) as error:
            await self._show(_refusal(_told(error), frame))
        except Exception:  # the top of the socket
            logger.exception("a frame could not be handled")
            await self._show(Error(code="internal", message="Something went wrong on the server. Please try again."))

    async def _obey(self, frame: AnyClientFrame) -> ServerFrame | None:
        match frame:
            case Send():
                return await in_order_thread(_send, self._principal, self._conversation_id, frame)
            case Stop():
                await in_order_thread(_stop, self._principal, _turn_id(frame.turn))
                return None
            case Ping():
                return Pong()
            case _:
                assert_never(frame)

    async def _view(self, after: Cursor) -> None:
        """Show everything past the cursor, until the socket closes or there is a reason to close it."""
        conversation_id, principal = self._conversation_id, self._principal
        frames = follow(conversation_id, hub=engine.ensure_started().hub, after=after, principal=principal)
        if self._whole:
            frames = with_contents(frames, conversation_id=conversation_id, principal=principal)
        try:
            async with aclosing(frames):
                async for frame in frames:
                    await self.base_send(_message(frame))
        except ChatError as error:
            await self._end(error)
        except OSError:
            logger.debug("a viewer is gone")
        except Exception:  # the top of the viewer's task
            logger.exception("a viewer failed")
            await self._close(Close.INTERNAL)

    async def _show(self, frame: ServerFrame | None) -> None:
        if frame is not None and not self._is_over:
            with suppress(OSError):  # nobody is there any more
                await self.base_send(_message(frame))

    async def _end(self, error: ChatError) -> None:
        """Say why, and close. Nothing may follow that; so when two find out at once, the first one says it."""
        if self._is_over:
            return
        if self._viewing is not None and self._viewing is not asyncio.current_task():
            self._viewing.cancel()
        self._is_over = True
        with suppress(OSError):
            await self.base_send(_message(Error(code=error.code, message=error.message)))
        await self._close(BY_CODE[error.code])

    async def _close(self, close: Close) -> None:
        with suppress(OSError):
            await self.close(code=int(close))  # daphne takes nothing but an int


def _told(error: Exception) -> ChatError:
    """What a viewer is told of it: that the database is away is no fault of theirs, and passes."""
    if isinstance(error, ChatError):
        return error
    logger.warning("the database could not be asked, who asked is to come back: %s", type(error).__name__)
    return Busy()


def _message(frame: ServerFrame) -> dict[str, str]:
    """A frame as ASGI's servers take it."""
    return {"type": "websocket.send", "text": encode(frame)}


def _admit(scope: dict[str, Any], conversation_id: UUID, *, logs: list[str] | None) -> Principal:
    """`logs`: what the address says of the contents of completion logs, if it does."""
    principal = principal_for_scope(scope)
    principal.require(Scope.READ)
    selectors.conversation(principal, conversation_id)
    if logs is not None:
        if logs != ["content"]:
            raise InvalidRequest("logs is content, or left out.")
        require_contents(principal)
    return principal


def _decoded(text: str | None) -> AnyClientFrame:
    if text is None:
        raise InvalidFrame("Frames are JSON text, not bytes.")
    limits = chat_settings()
    try:
        body = text.encode()
        if len(body) > limits.max_message_bytes:
            raise InvalidFrame(f"A frame may have {limits.max_message_bytes:,} bytes.")
        if depth_exceeds(limits.max_depth, body=body):
            raise InvalidFrame(f"JSON may be nested {limits.max_depth} deep; this is nested deeper.")
        return decode(body)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidFrame(f"This frame has a wrong shape: {error}.") from None


class InvalidFrame(InvalidRequest):
    """This frame has a wrong shape."""

    code = "invalid_frame"


def _send(principal: Principal, conversation_id: UUID, frame: Send) -> Accepted:
    selectors.require_valid(principal)
    order = Order(
        request_id=frame.request_id,
        text=frame.text,
        model=frame.model,
        replaces=_turn_id(frame.replaces) if frame.replaces is not None else None,
    )
    started = turns.start_turn(principal, conversation_id, order)
    return Accepted(
        request_id=frame.request_id,
        turn=str(started.turn_id),
        cursor=str(started.begin),
        cached=started.cached,
    )


def _stop(principal: Principal, turn_id: UUID) -> None:
    selectors.require_valid(principal)
    turns.stop_turn(principal, turn_id)


def _turn_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidFrame("A turn's id is a UUID.") from None


def _refusal(error: ChatError, frame: AnyClientFrame | None) -> Error:
    return Error(
        code=error.code,
        message=error.message,
        request_id=frame.request_id if isinstance(frame, Send) else None,
        turn=error.turn_id if isinstance(error, TurnActive) else None,
    )
