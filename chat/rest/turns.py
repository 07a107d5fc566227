"""Turns: how each stands, those of a conversation, stopping one, and asking its message again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Prefetch, QuerySet
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.principals import Principal
from chat.rest.api import ApiView
from chat.rest.asking import request_id_of
from chat.rest.paging import Pages
from chat.rest.serializers import NoFields, PageQuery, Retry, TurnOut
from history import log
from history.errors import NotFound
from history.events import Kind
from history.models import ACTIVE, Turn
from history.options import Options
from streaming import turns
from streaming.orders import Order
from web.schema import KEYED, REFUSED_TURN, describes, page_of


class TurnPages(Pages):
    """Newest first. The log knows the order of turns; clocks may not."""

    ordering = ("-seq",)


class TurnDetail(ApiView):
    """`turns/<id>/`"""

    @describes({200: TurnOut})
    def get(self, request: Request, turn_id: UUID) -> Response:
        """How it stands."""
        return Response(shown(self.principal, turn_id))


class ConversationTurns(ApiView):
    """`conversations/<id>/turns/`"""

    @describes({200: page_of(TurnOut)}, query=PageQuery)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """A page of them, of all branches."""
        conversation = selectors.conversation(self.principal, conversation_id)
        PageQuery(data=request.query_params).is_valid(raise_exception=True)
        asked = log.events_of(conversation.pk).filter(kind=Kind.USER_MESSAGE, turn__isnull=False)
        turns_of = Prefetch("turn", _with_feedback(self.principal, Turn.objects.all()))
        rows = asked.only("seq", "turn").prefetch_related(turns_of)
        return Response(TurnPages().answer(rows, request=request, show=_shown_all))


class TurnStop(ApiView):
    """`turns/<id>/stop/`"""

    @describes({200: TurnOut, 202: TurnOut}, body=NoFields)
    def post(self, request: Request, turn_id: UUID) -> Response:
        """Ask for its end, any number of times. 202 until it has ended, then 200."""
        NoFields(data=request.data).is_valid(raise_exception=True)
        turns.stop_turn(self.principal, turn_id)
        state = shown(self.principal, turn_id)
        return Response(state, status=202 if state["status"] in ACTIVE else 200)


class TurnRetry(ApiView):
    """`turns/<id>/retry/`"""

    @describes({200: TurnOut, 201: TurnOut}, body=Retry, headers=KEYED, refusals=REFUSED_TURN)
    def post(self, request: Request, turn_id: UUID) -> Response:
        """Ask its message again, in a turn that replaces it; the same `Idempotency-Key` gets the same turn."""
        replaced = selectors.turn(self.principal, turn_id)
        asked = Retry(data=request.data)
        asked.is_valid(raise_exception=True)
        options = msgspec.convert(replaced.options, Options)
        order = Order(
            request_id=request_id_of(request),
            model=asked.validated_data.get("model", replaced.profile or None),
            replaces=replaced.pk,
            system=options.system,
            no_tools=options.no_tools,
            sampling=options.sampling,
            tools=options.tools,
            tool_choice=options.tool_choice,
            tool=options.tool,
        )
        started = turns.start_turn(self.principal, replaced.conversation_id, order)
        body = shown(self.principal, started.turn_id)
        if not started.fresh:
            return Response(body, headers={"Idempotency-Replayed": "true"})
        return Response(body, status=201, headers={"Location": reverse("verbatim:turn", args=[started.turn_id])})


def shown(principal: Principal, turn_id: UUID) -> dict[str, Any]:
    """One turn as it is shown. Raises `NotFound`."""
    found = _with_feedback(principal, selectors.turns(principal)).filter(pk=turn_id).first()
    if found is None:
        raise NotFound
    return TurnOut(found).data


def _with_feedback(principal: Principal, rows: QuerySet[Turn]) -> QuerySet[Turn]:
    """Turns, each with what the principal thinks of it as `given`: a list of one, or empty."""
    return rows.prefetch_related(Prefetch("feedback", selectors.feedback(principal), to_attr="given"))


def _shown_all(rows: list[Any]) -> list[Any]:
    return list(TurnOut([event.turn for event in rows], many=True).data)
