"""Lists that stay fast on a million rows: nothing counts, sorts or scans a whole table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Min, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.dateparse import parse_date

from history.admin_display import moment
from history.events import Kind

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    ModelAdmin, AnyPaginator = admin.ModelAdmin, Paginator

BOUND = 10_000
"""How many rows a list counts and pages through, and how many a search for words looks at."""


def newest(rows: QuerySet[Any], *, by: str) -> QuerySet[Any]:
    """The newest `BOUND` of these rows, by a column with an index. Found by comparison: through a list of so many ids a
    database without fresh statistics goes once per row."""
    oldest = rows.order_by(f"-{by}").values(by)[:BOUND].aggregate(oldest=Min(by))["oldest"]
    return rows.none() if oldest is None else rows.filter(**{f"{by}__gte": oldest})


class BoundedPaginator(AnyPaginator):
    """Counts up to `BOUND` and no further; what lies behind is reached by a filter or a search."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or `BOUND` if there are more."""
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows.order_by().values("pk")[:BOUND].count()


class LogAdmin(ModelAdmin):
    """Read-only and newest first. `time_field` is the indexed column of the time at which a row came to be."""

    time_field = "created_at"
    search_fields = ("id",)  # shows the box; what is searched is below
    search_help_text = "An id, a request id, a day (2026-01-31), or words in the newest 10,000 rows shown"
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by = ()  # the other columns have no index

    class Media:
        css = {"all": ("verbatim/admin.css",)}  # noqa: RUF012 -- the form Django wants

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @admin.display(description="id")
    def short_id(self, obj: Any) -> str:
        return str(obj.pk)[:8]

    @admin.display(description="time (UTC)")
    def when(self, obj: Any) -> str:
        return moment(getattr(obj, self.time_field))

    def between(self, rows: QuerySet[Any], start: datetime, end: datetime | None = None) -> QuerySet[Any]:
        """Those of the rows that came to be from `start` on and before `end`."""
        rows = rows.filter(**{f"{self.time_field}__gte": start})
        return rows if end is None else rows.filter(**{f"{self.time_field}__lt": end})

    def below(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """What a row's page shows under its fields: context for the template."""
        return {}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None:
            context |= self.below(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def with_id(self, value: UUID) -> Q:
        """Rows that have or belong to something with this id."""
        raise NotImplementedError

    def named(self, term: str) -> Q:
        """Rows with this name in an indexed column."""
        raise NotImplementedError

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        """Rows with these words, looked for in the newest `BOUND` only."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """What is named exactly is found wherever it is; words only among the newest."""
        return self._found(queryset, search_term.strip()), False

    def _found(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if not term:
            return rows
        identity = as_uuid(term)
        for named in (self.named(term), self.with_id(identity) if identity else None):
            if named is not None and (exact := rows.filter(named)).exists():
                return exact
        day = as_day(term)
        if day is not None:
            return self.between(rows, day, day + timedelta(days=1))
        return rows.filter(self.containing(term, among=rows))


class RecentFilter(admin.SimpleListFilter):
    """By age: a start that every index on time can seek to."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The ages to choose from, in hours."""
        self._admin = model_admin
        return [("1", "Past hour"), ("24", "Past 24 hours"), ("168", "Past 7 days"), ("720", "Past 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that age."""
        value = self.value()
        if value is None or not value.isdecimal() or len(value) > 4:
            return queryset
        assert isinstance(self._admin, LogAdmin)
        return self._admin.between(queryset, timezone.now() - timedelta(hours=int(value)))


class KindFilter(admin.SimpleListFilter):
    """By kind of event."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The kinds this version writes."""
        return [(kind, kind.replace("_", " ")) for kind in Kind]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The events of that kind."""
        return queryset.filter(kind=self.value()) if self.value() else queryset


class ModelFilter(admin.SimpleListFilter):
    """By model. The choices are read by seeking in the index from one name to the next, never by `DISTINCT`."""

    title = "model"
    parameter_name = "model"
    most = 50

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        """The models that occur, by name."""
        return [(name, name) for name in self._names(model_admin.model)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of that model."""
        return queryset.filter(model=self.value()) if self.value() else queryset

    def _names(self, model: type[Model]) -> Iterator[str]:
        last = ""
        for _ in range(self.most):
            following = model._default_manager.filter(model__gt=last).order_by("model")
            name = following.values_list("model", flat=True).first()
            if name is None:
                return
            yield (last := name)


def as_uuid(term: str) -> UUID | None:
    """The id that a search term is, if it is one."""
    try:
        return UUID(term)
    except ValueError:
        return None


def as_day(term: str) -> datetime | None:
    """The beginning (UTC) of the day that a search term is, if it is one."""
    try:
        day = parse_date(term)
    except ValueError:
        return None
    return None if day is None else datetime.combine(day, time(), tzinfo=UTC)
