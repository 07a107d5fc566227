"""The model calls of a conversation: a list, and each with what was asked and answered, for those who may read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from access import selectors
from access.contents import content_for, may_read_contents, require_contents
from chat.rest.api import ApiView
from chat.rest.paging import Pages
from chat.rest.serializers import CompletionLogOut, CompletionLogQuery, DownloadQuery, WholeCompletionLogOut
from history import log
from history.errors import NotFound
from history.events import Kind
from history.models import Event
from web.schema import describes, page_of


class LogPages(Pages):
    """Newest first."""

    ordering = ("-seq",)
    page_size = 100


class CompletionLogs(ApiView):
    """`conversations/<id>/completion-logs/?usage_id=&model=&outcome=&turn=`"""

    @describes({200: page_of(CompletionLogOut)}, query=CompletionLogQuery)
    def get(self, request: Request, conversation_id: UUID) -> Response:
        """A page of them, of all or of those that are as asked."""
        rows = _logs(selectors.conversation(self.principal, conversation_id).pk)
        asked = CompletionLogQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wanted = {name: value for name, value in asked.validated_data.items() if value and name != "cursor"}
        for name in ("usage_id", "outcome"):
            if name in wanted:
                wanted[f"data__{name}"] = wanted.pop(name)
        return Response(LogPages().answer(rows.filter(**wanted), request=request, show=_shown_all))


class CompletionLogDetail(ApiView):
    """`conversations/<id>/completion-logs/<seq>/?download=1`"""

    @describes({200: WholeCompletionLogOut}, query=DownloadQuery)
    def get(self, request: Request, conversation_id: UUID, seq: int) -> HttpResponseBase:
        """One of them, with its content for those who may read it; as a file, only for them."""
        row = _logs(selectors.conversation(self.principal, conversation_id).pk).filter(seq=seq).first()
        asked = DownloadQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        if row is None:
            raise NotFound
        told = _told(row)
        if asked.validated_data["download"]:
            require_contents(self.principal)
        shape = CompletionLogOut
        if may_read_contents(self.principal):
            shape, told["content"] = WholeCompletionLogOut, content_for(self.principal, conversation_id, seq=seq)
        answer = Response(shape(told).data)
        if asked.validated_data["download"]:
            answer["Content-Disposition"] = f'attachment; filename="{told["filename"]}"'
        return answer


def _logs(conversation_id: UUID) -> QuerySet[Event]:
    rows: QuerySet[Event] = log.events_of(conversation_id).filter(kind=Kind.COMPLETION_LOG)
    return rows


def _told(row: Event) -> dict[str, Any]:
    return {"id": row.seq, "turn": row.turn_id, "at": row.at, **row.data}


def _shown_all(rows: Iterable[Event]) -> list[Any]:
    return list(CompletionLogOut(map(_told, rows), many=True).data)
