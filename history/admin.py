"""Conversations and turns in the Django admin: to look at, to stop turns and to delete conversations; nothing else can
be changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from history import (
    admin_contents,  # noqa: F401 -- so that it is registered
    admin_usage,
    conversations,
    replay,
)
from history.admin_display import excerpt, moment, page, pretty, rows, stretches
from history.admin_events import saying
from history.admin_feedback import FeedbackInline
from history.admin_lists import LogAdmin, ModelFilter, RecentFilter, newest
from history.admin_timeline import timeline
from history.models import ACTIVE, Conversation, DeltaBatch, Event, Turn
from history.stopping import stop


@admin.register(Conversation)
class ConversationAdmin(LogAdmin):
    """Conversations, each with its timeline. Deleting one stops what runs in it first."""

    list_display = ("short_id", "when", "named_", "owner", "last_seq", "active", "updated")
    list_select_related = ("owner",)
    list_filter = (RecentFilter, "archived")
    ordering = ("-created_at", "-id")
    fields = (
        "id", "title", "owner", "archived", "last_seq", "active", "created_at", "updated_at", "all_turns", "all_events",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return conversations.with_active_turn(super().get_queryset(request))

    def with_id(self, value: UUID) -> Q:
        return Q(pk=value) | Q(pk__in=Turn.objects.filter(pk=value).values("conversation"))

    def named(self, term: str) -> Q:
        users = get_user_model()._default_manager.filter(**{get_user_model().USERNAME_FIELD: term})
        return Q(owner__in=users) | Q(pk__in=Turn.objects.filter(request_id=term).values("conversation"))

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        titled = newest(among, by="created_at").filter(title__icontains=term)
        return Q(pk__in=titled.order_by().values("pk")) | Q(pk__in=saying(term).values("conversation"))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("verbatim_history.delete_conversation")

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """What the confirmation lists: the conversations, not their hundred thousand events one by one."""
        found = list(objs)
        return [str(found_one) for found_one in found], {"conversations": len(found)}, set(), []

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        conversations.delete(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        for pk in queryset.values_list("pk", flat=True):
            conversations.delete(pk)

    def below(self, request: HttpRequest, obj: Conversation) -> dict[str, Any]:
        return {"timeline": timeline(obj.events.all()), "with_turns": True, "all_events": self.all_events(obj)}

    @admin.display(description="title")
    def named_(self, obj: Conversation) -> str:
        return excerpt(obj.title, limit=80) or "-"

    @admin.display(description="updated")
    def updated(self, obj: Conversation) -> str:
        return moment(obj.updated_at)

    @admin.display(description="active turn")
    def active(self, obj: Any) -> SafeString | str:
        return page(Turn(pk=obj.active_turn), str(obj.active_turn)[:8]) if obj.active_turn else "-"

    @admin.display(description="turns")
    def all_turns(self, obj: Conversation) -> SafeString:
        return rows(Turn, "All turns", conversation=obj.pk)

    @admin.display(description="events")
    def all_events(self, obj: Conversation) -> SafeString:
        return rows(Event, f"All {obj.last_seq:,} events", conversation=obj.pk)


@admin.register(Turn)
class TurnAdmin(LogAdmin):
    """Turns with usage and cost, their events and, while they run, what they have said so far."""

    list_display = ("short_id", "when", "status", "model", "in_conversation", "owner", "tokens", "cost_", "error_code")
    list_select_related = ("conversation", "owner")
    list_filter = ("status", ModelFilter, RecentFilter)
    ordering = ("-created_at", "-id")
    actions = ("stop_turns",)
    inlines = (FeedbackInline,)
    fieldsets = (
        (None, {"fields": ("id", ("in_conversation", "owner"), ("status", "finish_reason", "error_code"))}),
        ("Model", {"fields": (("profile", "model"), ("tokens", "cached_tokens", "reasoning_tokens", "cost_"))}),
        ("Time", {"fields": (("created_at", "started_at", "ended_at"),)}),
        ("Place", {"fields": (("parent", "replaces", "origin"), ("all_events", "all_calls", "all_batches"))}),
        ("Request", {"classes": ("collapse",), "fields": ("request_id", "fingerprint", "options_")}),
        ("Process", {"classes": ("collapse",), "fields": (("attempt", "engine", "lease_expires_at"),)}),
    )

    def with_id(self, value: UUID) -> Q:
        return Q(pk=value) | Q(conversation=value)

    def named(self, term: str) -> Q:
        return Q(request_id=term)

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        return Q(pk__in=saying(term).values("turn"))

    def below(self, request: HttpRequest, obj: Turn) -> dict[str, Any]:
        """The stop button and the draft of a turn that runs, and its events."""
        running = obj.status in ACTIVE
        draft = replay.stored_drafts([obj.conversation_id]).get(obj.conversation_id) if running else None
        return {
            "stop_url": reverse("admin:verbatim_history_turn_stop", args=[obj.pk])
            if running and self.has_stop_permission(request)
            else None,
            "draft": draft,
            "draft_text": stretches(draft.parts) if draft else None,
            "timeline": timeline(obj.events.all()),
            "all_events": self.all_events(obj),
        }

    def get_urls(self) -> list[URLPattern]:
        using, stopping = self.admin_site.admin_view(self.usage_view), self.admin_site.admin_view(self.stop_view)
        return [
            path("usage/", using, name="verbatim_history_turn_usage"),
            path("<uuid:turn_id>/stop/", stopping, name="verbatim_history_turn_stop"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def usage_view(self, request: HttpRequest) -> HttpResponse:
        """What turns have used, by day and by model, user or profile."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Usage"}
        return TemplateResponse(
            request, "admin/verbatim_history/usage.html", context | admin_usage.page(request.GET.dict())
        )

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, turn_id: UUID) -> HttpResponse:
        """The button on a turn's page."""
        if not self.has_stop_permission(request):
            raise PermissionDenied
        turn = Turn.objects.filter(pk=turn_id).first()
        if turn is None:
            raise Http404
        self.log_change(request, turn, "Stopped.")
        self._say_stopped(request, int(stop(turn_id)))
        return HttpResponseRedirect(reverse("admin:verbatim_history_turn_change", args=[turn_id]))

    @admin.action(description="Stop the selected turns", permissions=["stop"])
    def stop_turns(self, request: HttpRequest, queryset: QuerySet[Turn]) -> None:
        """Those that run or wait; what they have said so far is kept."""
        active = list(queryset.filter(status__in=ACTIVE).values_list("pk", flat=True))
        self._say_stopped(request, sum(stop(turn_id) for turn_id in active))

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whether this member of staff may stop other people's turns."""
        return request.user.has_perm("verbatim_history.change_turn")

    def _say_stopped(self, request: HttpRequest, stopped: int) -> None:
        level = messages.SUCCESS if stopped else messages.INFO
        self.message_user(request, f"{stopped} stopped." if stopped else "Nothing to stop.", level)

    @admin.display(description="conversation")
    def in_conversation(self, obj: Turn) -> SafeString:
        return page(obj.conversation, excerpt(str(obj.conversation), limit=60))

    @admin.display(description="tokens in + out")
    def tokens(self, obj: Turn) -> str:
        return f"{obj.prompt_tokens:,} + {obj.completion_tokens:,}"

    @admin.display(description="cost")
    def cost_(self, obj: Turn) -> str:
        return "-" if obj.cost is None else f"${obj.cost:,.6f}"

    @admin.display(description="options")
    def options_(self, obj: Turn) -> SafeString:
        return pretty(obj.options)

    @admin.display(description="events")
    def all_events(self, obj: Turn) -> SafeString:
        return rows(Event, "All events", turn=obj.pk)

    @admin.display(description="model calls")
    def all_calls(self, obj: Turn) -> SafeString:
        return rows(Event, "Completion logs", turn=obj.pk, kind="completion_log")

    @admin.display(description="delta batches")
    def all_batches(self, obj: Turn) -> SafeString:
        return rows(DeltaBatch, "Stored delta batches", turn_id=obj.pk)
