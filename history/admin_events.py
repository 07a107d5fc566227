"""The entries of the log in the admin, and what is stored of drafts: of all conversations, newest first."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Max, Min, Q, QuerySet
from django.utils.safestring import SafeString

from history.admin_display import as_stored, block, excerpt, page, pretty
from history.admin_lists import KindFilter, LogAdmin, ModelFilter, RecentFilter, newest
from history.models import DeltaBatch, Event, Turn

SLACK = timedelta(minutes=1)
"""How long it may take from reading the clock to numbering rows: so far may the order of ids be off that of time."""


@admin.register(Event)
class EventAdmin(LogAdmin):
    """The log itself, of all conversations. Events are numbered as they come, so the newest have the highest ids."""

    time_field = "at"
    list_display = ("id", "when", "kind", "says", "in_conversation", "in_turn", "model")
    list_select_related = ("conversation",)
    list_filter = (KindFilter, ModelFilter, RecentFilter)
    ordering = ("-id",)
    fields = ("id", "in_conversation", "seq", "at", "kind", "in_turn", "hop", "index", "model", "data_")
    readonly_fields = fields

    def between(self, rows: QuerySet[Any], start: datetime, end: datetime | None = None) -> QuerySet[Any]:
        """Narrowed to a range of ids as well, in which every other filter and the order have an index."""
        first = Event.objects.filter(at__gte=start).order_by("at").values_list("at", flat=True).first()
        if first is None:
            return rows.none()
        since = Event.objects.filter(at__range=(first - SLACK, first + SLACK)).aggregate(pk=Min("pk"))["pk"]
        rows = super().between(rows, start, end).filter(pk__gte=since)
        if end is None:
            return rows
        last = Event.objects.filter(at__lt=end).order_by("-at").values_list("at", flat=True).first()
        if last is None:
            return rows.none()
        return rows.filter(
            pk__lte=Event.objects.filter(at__range=(last - SLACK, last + SLACK)).aggregate(pk=Max("pk"))["pk"]
        )

    def with_id(self, value: UUID) -> Q:
        return Q(turn=value) | Q(conversation=value)

    def named(self, term: str) -> Q:
        if term.isdecimal() and len(term) < 19:
            return Q(pk=int(term))
        return Q(turn__in=Turn.objects.filter(request_id=term).values("pk"))

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        return Q(pk__in=saying(term, among=among).values("pk"))

    @admin.display(description="conversation")
    def in_conversation(self, obj: Event) -> SafeString:
        return page(obj.conversation, excerpt(str(obj.conversation), limit=40))

    @admin.display(description="turn")
    def in_turn(self, obj: Event) -> SafeString | str:
        return page(Turn(pk=obj.turn_id), str(obj.turn_id)[:8]) if obj.turn_id else "-"

    @admin.display(description="data")
    def says(self, obj: Event) -> str:
        return excerpt(obj.data)

    @admin.display(description="data")
    def data_(self, obj: Event) -> SafeString:
        return pretty(obj.data)


@admin.register(DeltaBatch)
class DeltaBatchAdmin(LogAdmin):
    """What is stored of the drafts in progress; a turn's page shows them put together."""

    list_display = ("id", "when", "in_turn", "attempt", "hop", "start", "length", "says")
    ordering = ("-id",)
    fields = ("id", "in_turn", "attempt", "hop", "start", "length", "at", "runs_", "text_")
    readonly_fields = fields
    time_field = "at"

    def with_id(self, value: UUID) -> Q:
        return Q(turn_id=value)

    def named(self, term: str) -> Q:
        return Q(turn_id__in=Turn.objects.filter(request_id=term).values("pk"))

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        return Q(pk__in=newest(among, by="id").filter(text__icontains=term).order_by().values("pk"))

    @admin.display(description="turn")
    def in_turn(self, obj: DeltaBatch) -> SafeString:
        return page(Turn(pk=obj.turn_id), str(obj.turn_id)[:8])

    @admin.display(description="characters")
    def length(self, obj: DeltaBatch) -> int:
        return len(obj.text)

    @admin.display(description="text")
    def says(self, obj: DeltaBatch) -> str:
        return excerpt(obj.text)

    @admin.display(description="text")
    def text_(self, obj: DeltaBatch) -> SafeString:
        return block(obj.text)

    @admin.display(description="runs")
    def runs_(self, obj: DeltaBatch) -> SafeString:
        return pretty(obj.runs)


def saying(words: str, *, among: QuerySet[Event] | None = None) -> QuerySet[Event]:
    """Those of the newest `BOUND` of these events, else of all, that have the words in their data."""
    rows = newest(Event.objects.all() if among is None else among, by="id")
    return rows.filter(data__icontains=as_stored(words)).order_by()
