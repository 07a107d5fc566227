"""Whole answers as JSON, for callers who wait: the stored end of a turn, the same bytes every time."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from access import selectors
from access.principals import Principal
from chat.rest import problems
from chat.rest.api import ApiView
from history import answers
from history.answers import Answer
from history.conf import chat_settings
from history.events import TurnError
from history.models import ACTIVE
from streaming import engine
from streaming.answer import until_ended
from streaming.database import in_thread
from streaming.errors import StillRunning
from web.schema import describes
from web.statuses import OF_FAILED_TURN
from web.waiting import Pending


class Document(msgspec.Struct, frozen=True):
    """A source that a tool named."""

    docs_url: str
    title: str


class AnswerBody(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. `truncated` says that it was cut short: by the model's limit of length, or because it was stopped.
    Token counts are null where the provider told none."""

    conversation_id: UUID
    turn: UUID
    response: str
    referenced_documents: tuple[Document, ...]
    truncated: bool
    status: str
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None


FAILURES = tuple(sorted({*OF_FAILED_TURN.values(), HTTPStatus.GATEWAY_TIMEOUT}))
"""How an answer may fail, beside being refused."""


class TurnResponse(ApiView):
    """`turns/<id>/response/`"""

    @describes({200: AnswerBody}, refusals=FAILURES)
    def get(self, request: Request, turn_id: UUID) -> HttpResponse:
        """The answer of a turn; one that is being written is waited for."""
        turn = selectors.turn(self.principal, turn_id)
        ended = turn.status not in ACTIVE
        return answer(turn.pk, conversation_id=turn.conversation_id, ended=ended, principal=self.principal)


def answer(turn_id: UUID, *, conversation_id: UUID, ended: bool, principal: Principal) -> HttpResponse:
    """The stored answer, marked as a replay, or one that is still to come."""
    if ended:
        response = shown(answers.answer_of(turn_id))
        response["Idempotency-Replayed"] = "true"
        return response
    return Pending(partial(_await, turn_id, conversation_id=conversation_id, principal=principal))


async def _await(turn_id: UUID, *, conversation_id: UUID, principal: Principal) -> HttpResponse:
    hub = engine.ensure_started().hub
    try:
        async with asyncio.timeout(chat_settings().answer_timeout):
            await until_ended(turn_id, conversation_id=conversation_id, hub=hub, principal=principal)
        return shown(await in_thread(answers.answer_of, turn_id))
    except TimeoutError:
        return problems.respond(StillRunning(str(turn_id)), {})
    except Exception as error:  # the top of a request, outside of the view
        return problems.respond(error, {})


def shown(found: Answer) -> HttpResponse:
    """The response to an ended turn. Nothing in it depends on when or by whom it is asked for."""
    if found.ended.error is not None:
        return _failed(found, found.ended.error)
    usage = found.ended.usage
    body = AnswerBody(
        conversation_id=found.conversation_id,
        turn=found.turn_id,
        response=found.text,
        referenced_documents=tuple(Document(source.url, source.title) for source in found.sources),
        truncated=found.ended.status == "cancelled" or found.ended.finish_reason == "length",
        status=found.ended.status,
        finish_reason=found.ended.finish_reason,
        input_tokens=usage.prompt if usage else None,
        output_tokens=usage.completion if usage else None,
    )
    return HttpResponse(msgspec.json.encode(body), content_type="application/json")


def _failed(found: Answer, error: TurnError) -> HttpResponse:
    """The turn's own error; what had been said is in the log."""
    status = OF_FAILED_TURN.get(error.code, HTTPStatus.BAD_GATEWAY)
    return problems.problem(
        error.code,
        status,
        detail=error.message,
        turn=str(found.turn_id),
        conversation=str(found.conversation_id),
    )
