"""What models were asked and have answered, in the admin: for those who may read it, and with a note of who did."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from history.admin_display import excerpt, page, pretty
from history.admin_lists import LogAdmin, RecentFilter
from history.contents import content_of
from history.models import CompletionContent, Event

NOTHING = Q(pk__in=())


@admin.register(CompletionContent)
class CompletionContentAdmin(LogAdmin):
    """Contents, newest first. The list shows none of them; whoever opens one is noted in Django's own log."""

    time_field = "at"
    list_display = ("id", "when", "in_conversation", "seq")
    list_select_related = ("conversation",)
    list_filter = (RecentFilter,)
    ordering = ("-at", "-id")
    fields = ("id", "at", "in_conversation", "call", "content")
    readonly_fields = fields

    def with_id(self, value: UUID) -> Q:
        turns = Event.objects.filter(turn=value).values("seq", "conversation")
        return Q(conversation=value) | Q(conversation__in=turns.values("conversation"), seq__in=turns.values("seq"))

    def named(self, term: str) -> Q:
        return NOTHING

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        return NOTHING  # they are compressed

    def below(self, request: HttpRequest, obj: CompletionContent) -> dict[str, Any]:
        """Nothing; but now it is read."""
        self.log_change(request, obj, "Read.")
        return {}

    @admin.display(description="conversation")
    def in_conversation(self, obj: CompletionContent) -> SafeString:
        return page(obj.conversation, excerpt(str(obj.conversation), limit=40))

    @admin.display(description="call")
    def call(self, obj: CompletionContent) -> SafeString | str:
        event = Event.objects.filter(conversation_id=obj.conversation_id, seq=obj.seq).first()
        return page(event, f"Event {obj.seq}") if event is not None else "-"

    @admin.display(description="content")
    def content(self, obj: CompletionContent) -> SafeString:
        return pretty(content_of(obj.conversation_id, seq=obj.seq))
