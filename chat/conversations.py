"""A person's conversations: list, create, look at, rename, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from rest_framework import exceptions
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.principals import Principal
from chat.api import ApiView
from chat.serializers import ConversationOut, NewConversation, Rename
from history import conversations
from history.errors import NotFound
from history.models import Conversation
from streaming import turns
from streaming.errors import InvalidCursor


class Pages(CursorPagination):
    """Newest first, read by index at any depth. Links are without host, which a proxy may have changed."""

    ordering = ("-updated_at", "-id")
    page_size = 30

    def answer(self, rows: QuerySet[Any], *, request: Request) -> dict[str, Any]:
        """The rows that the request asks for, as they are shown, and the way to their neighbours."""
        found = self.paginate_queryset(rows, request)
        self.base_url = request.get_full_path()
        results = ConversationOut(found, many=True).data
        return {"next": self.get_next_link(), "previous": self.get_previous_link(), "results": results}

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except exceptions.NotFound:
            raise InvalidCursor from None
        position: Any = cursor and cursor.position
        if position is not None and _time(position) is None:
            raise InvalidCursor
        return cursor


class ConversationList(ApiView):
    """`conversations/`"""

    def get(self, request: Request) -> Response:
        """A page of them."""
        return Response(Pages().answer(visible(self.principal), request=request))

    def post(self, request: Request) -> Response:
        """A new one, without title."""
        NewConversation(data=request.data).is_valid(raise_exception=True)
        created = conversations.create(self.principal.user_id)
        address = reverse("verbatim:conversation", args=[created.pk])
        return Response(shown(self.principal, created.pk), status=201, headers={"Location": address})


class ConversationDetail(ApiView):
    """`conversations/<id>/`"""

    def get(self, request: Request, conversation_id: UUID) -> Response:
        """One of them."""
        return Response(shown(self.principal, conversation_id))

    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Another title."""
        found = selectors.conversation(self.principal, conversation_id)
        rename = Rename(data=request.data)
        rename.is_valid(raise_exception=True)
        conversations.rename(found.pk, title=rename.validated_data["title"])
        return Response(shown(self.principal, conversation_id))

    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """Gone, with everything in it; what runs in it is stopped first."""
        turns.delete_conversation(self.principal, conversation_id)
        return Response(status=204)


def visible(principal: Principal) -> QuerySet[Conversation]:
    """What the principal may see, each with the turn that is being answered."""
    return conversations.with_active_turn(selectors.conversations(principal))


def shown(principal: Principal, conversation_id: UUID) -> Any:
    """One conversation as it is shown. Raises `NotFound`."""
    found = visible(principal).filter(pk=conversation_id).first()
    if found is None:
        raise NotFound
    return ConversationOut(found).data


def _time(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None
