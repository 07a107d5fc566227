"""A person's conversations: list, create, look at, rename, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.principals import Principal
from chat.rest.api import ApiView
from chat.rest.paging import Pages
from chat.rest.serializers import ConversationChange, ConversationOut, ConversationQuery, NoFields
from history import conversations
from history.errors import NotFound
from history.models import Conversation
from streaming import turns
from web.schema import describes, page_of


class ConversationPages(Pages):
    """Last used first."""

    ordering = ("-updated_at", "-id")

    def is_position(self, text: str) -> bool:
        """Whether that is a time."""
        try:
            return parse_datetime(text) is not None
        except ValueError:
            return False


class ConversationList(ApiView):
    """`conversations/?search=<words>`"""

    @describes({200: page_of(ConversationOut)}, query=ConversationQuery)
    def get(self, request: Request) -> Response:
        """A page of them, of all or of those whose title has the words; without those of single requests."""
        asked = ConversationQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        kept = visible(self.principal).filter(ephemeral=False, archived=asked.validated_data["archived"])
        rows = conversations.titled(kept, words=asked.validated_data["search"])
        return Response(ConversationPages().answer(rows, request=request, show=shown_all))

    @describes({201: ConversationOut}, body=NoFields)
    def post(self, request: Request) -> Response:
        """A new one, without title."""
        NoFields(data=request.data).is_valid(raise_exception=True)
        created = conversations.create(self.principal.user_id)
        address = reverse("verbatim:conversation", args=[created.pk])
        return Response(shown(self.principal, created.pk), status=201, headers={"Location": address})


class ConversationDetail(ApiView):
    """`conversations/<id>/`"""

    @describes({200: ConversationOut})
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """One of them."""
        return Response(shown(self.principal, conversation_id))

    @describes({200: ConversationOut}, body=ConversationChange)
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        """Another title; or put away, or taken out again."""
        found = selectors.conversation(self.principal, conversation_id)
        change = ConversationChange(data=request.data)
        change.is_valid(raise_exception=True)
        fresh = change.validated_data
        conversations.change(found.pk, **fresh, **({"is_titled": True} if "title" in fresh else {}))
        return Response(shown(self.principal, conversation_id))

    @describes({204: None})
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


def shown_all(rows: list[Any]) -> list[Any]:
    """Conversations as a list shows them."""
    return list(ConversationOut(rows, many=True).data)
