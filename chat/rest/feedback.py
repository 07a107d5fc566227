"""What people think of answers: a thumb up or down for a turn, and a comment."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from chat.rest.api import ApiView
from chat.rest.paging import Pages
from chat.rest.serializers import FeedbackIn, FeedbackOut, PageQuery
from history import feedback
from history.models import ACTIVE
from streaming.errors import TurnActive
from web.schema import describes, page_of


class FeedbackPages(Pages):
    """Newest first."""

    ordering = ("-id",)
    page_size = 100


class GiveFeedback(ApiView):
    """`ai/feedback/`"""

    @describes({200: FeedbackOut, 201: FeedbackOut, 204: None}, body=FeedbackIn, refusals=(HTTPStatus.CONFLICT,))
    def post(self, request: Request) -> Response:
        """Note it, in place of what was said of the turn before: 201 at first, then 200; 204 when taken back."""
        asked = FeedbackIn(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data
        turn = selectors.turn(self.principal, wanted["turn"])
        if wanted["sentiment"] is None:
            feedback.withdraw(turn.pk, owner_id=self.principal.user_id)
            return Response(status=204)
        if turn.status in ACTIVE:
            raise TurnActive(str(turn.pk))
        given, is_new = feedback.give(
            turn, owner_id=self.principal.user_id, sentiment=wanted["sentiment"], comment=wanted["comment"]
        )
        return Response(FeedbackOut(given).data, status=201 if is_new else 200)


class ConversationFeedback(ApiView):
    """`conversations/<id>/feedback/`"""

    @describes({200: page_of(FeedbackOut)}, query=PageQuery)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """A page of what was said of its turns."""
        conversation = selectors.conversation(self.principal, conversation_id)
        PageQuery(data=request.query_params).is_valid(raise_exception=True)
        rows = selectors.feedback(self.principal).filter(conversation=conversation)
        return Response(FeedbackPages().answer(rows, request=request, show=_shown_all))


def _shown_all(rows: list[Any]) -> list[Any]:
    return list(FeedbackOut(rows, many=True).data)
