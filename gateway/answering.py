"""The answer to a request: a stream that begins with the first word, or a whole completion; neither needs a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from access.principals import Principal
from gateway import errors
from gateway.chunks import HEARTBEAT, calls_of, completion, finish_reason_of
from gateway.errors import CANCELLED, TurnFailed
from gateway.fold import Telling
from gateway.request import Asked
from history import answers
from history.answers import Answer
from history.conf import chat_settings
from history.errors import ChatError
from streaming import ends, engine
from streaming.answer import follow_turn, until_ended
from streaming.database import in_order_thread, in_thread
from streaming.errors import StillRunning
from streaming.turns import Started, stop_turn
from web.schema import EVENT_STREAM
from web.streams import HEADERS, StreamedResponse

WAITING = b": waiting for the model\n\n"


async def stream(started: Started, *, asked: Asked, principal: Principal) -> HttpResponseBase:
    """The answer as it is written. A turn that fails before its first word is a response with a status of its own,
    unless the client has been kept waiting for too long by then."""
    parts, patience = _parts(started, asked=asked, principal=principal), chat_settings().gateway_patience
    first = asyncio.ensure_future(_first(parts, patience=patience))
    try:
        await asyncio.wait({first}, timeout=patience)
        if first.done():
            first.result()
    except BaseException as error:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await parts.aclose()
        if not isinstance(error, Exception):
            raise
        return errors.response(errors.refusal(error, keyed=asked.keyed))
    return _streamed(first, parts, keyed=asked.keyed)


async def _first(parts: AsyncGenerator[bytes, None], *, patience: float) -> bytes:
    """The first word, or the first sign of life after so many seconds."""
    clock = asyncio.get_running_loop().time
    until = clock() + patience
    while (part := await anext(parts)) == HEARTBEAT and clock() < until:
        pass
    return part


def _streamed(
    first: asyncio.Future[bytes], parts: AsyncGenerator[bytes, None], *, keyed: bool
) -> StreamingHttpResponse:
    return StreamedResponse(_rest(first, parts, keyed=keyed), content_type=EVENT_STREAM, headers=HEADERS)


async def _rest(
    first: asyncio.Future[bytes], parts: AsyncGenerator[bytes, None], *, keyed: bool
) -> AsyncGenerator[bytes, None]:
    """What follows the headers."""
    async with aclosing(parts):
        try:
            if not first.done():
                yield WAITING
            yield await first
            async for part in parts:
                yield part
        except Exception as error:  # the top of a stream
            yield errors.event(errors.refusal(error, keyed=keyed))
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)  # else it would still be in the generator


async def _parts(started: Started, *, asked: Asked, principal: Principal) -> AsyncGenerator[bytes, None]:
    """The turn's answer, from its beginning to its end. Raises what ends it otherwise."""
    telling = Telling(started.turn_id, model=asked.model, with_usage=asked.with_usage, callers=asked.callers)
    frames = follow_turn(
        started.turn_id,
        conversation_id=started.conversation_id,
        hub=engine.ensure_started().hub,
        after=started.begin,
        principal=principal,
    )
    async with leaving(started, asked=asked, principal=principal), aclosing(frames):
        async for frame in frames:
            if said := telling.take(frame):
                yield said
            if telling.over:
                return


async def whole(started: Started, *, asked: Asked, principal: Principal) -> HttpResponse:
    """The completion, as soon as the turn has ended."""
    try:
        if not started.ended:
            await _end_of(started, asked=asked, principal=principal)
        return shown(await in_thread(answers.answer_of, started.turn_id), asked=asked)
    except Exception as error:  # the top of a request, outside of the view
        return errors.response(errors.refusal(error, keyed=asked.keyed))


async def _end_of(started: Started, *, asked: Asked, principal: Principal) -> None:
    hub = engine.ensure_started().hub
    try:
        async with leaving(started, asked=asked, principal=principal), asyncio.timeout(chat_settings().answer_timeout):
            await until_ended(started.turn_id, conversation_id=started.conversation_id, hub=hub, principal=principal)
    except TimeoutError:
        raise StillRunning(str(started.turn_id)) from None


@asynccontextmanager
async def leaving(started: Started, *, asked: Asked, principal: Principal) -> AsyncIterator[None]:
    """A caller may leave in the block."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        await in_order_thread(leave, started, asked=asked, principal=principal)
        raise


def leave(started: Started, *, asked: Asked, principal: Principal) -> None:
    """The caller has left: the turn is stopped, if it has said so."""
    if asked.leaving_stops and not started.ended:
        with suppress(ChatError):
            stop_turn(principal, started.turn_id)


def shown(found: Answer, *, asked: Asked) -> HttpResponse:
    """An ended turn as a response: the same bytes every time. Raises `TurnFailed` for one that did not end well."""
    match found.ended.status:
        case "cancelled":
            raise TurnFailed(CANCELLED)
        case "failed":
            raise TurnFailed(found.ended.error or ends.INTERNAL)
    calls = tuple(call for message in found.messages for call in calls_of(message, callers=asked.callers))
    body = completion(
        found.turn_id,
        asked_at=found.asked_at,
        model=asked.model,
        text=found.text,
        reasoning="".join(message.reasoning for message in found.messages),
        calls=calls,
        finish_reason=finish_reason_of(found.ended.finish_reason, has_called=bool(calls)),
        usage=found.ended.usage,
    )
    return HttpResponse(body, content_type="application/json")
