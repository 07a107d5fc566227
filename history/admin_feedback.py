"""What people think of answers, in the admin: a list, and a line on the page of each turn; only to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from history.admin_display import block, excerpt, page
from history.admin_lists import LogAdmin, RecentFilter, newest
from history.models import Feedback, Turn

if TYPE_CHECKING:
    Inline = admin.TabularInline[Feedback, Turn]
else:
    Inline = admin.TabularInline


@admin.register(Feedback)
class FeedbackAdmin(LogAdmin):
    """Thumbs and comments, newest first."""

    time_field = "at"
    list_display = ("when", "sentiment", "says", "in_turn", "in_conversation", "owner")
    list_select_related = ("conversation", "owner")
    list_filter = ("sentiment", RecentFilter)
    ordering = ("-at", "-id")
    fields = ("id", "at", "sentiment", "owner", "in_turn", "in_conversation", "comment_")
    readonly_fields = fields

    def with_id(self, value: UUID) -> Q:
        return Q(turn=value) | Q(conversation=value)

    def named(self, term: str) -> Q:
        users = get_user_model()._default_manager.filter(**{get_user_model().USERNAME_FIELD: term})
        return Q(owner__in=users) | Q(turn__in=Turn.objects.filter(request_id=term).values("pk"))

    def containing(self, term: str, *, among: QuerySet[Any]) -> Q:
        return Q(pk__in=newest(among, by="at").filter(comment__icontains=term).order_by().values("pk"))

    @admin.display(description="comment")
    def says(self, obj: Feedback) -> str:
        return excerpt(obj.comment) or "-"

    @admin.display(description="comment")
    def comment_(self, obj: Feedback) -> SafeString | str:
        return block(obj.comment) if obj.comment else "-"

    @admin.display(description="turn")
    def in_turn(self, obj: Feedback) -> SafeString:
        return page(Turn(pk=obj.turn_id), str(obj.turn_id)[:8])

    @admin.display(description="conversation")
    def in_conversation(self, obj: Feedback) -> SafeString:
        return page(obj.conversation, excerpt(str(obj.conversation), limit=40))


class FeedbackInline(Inline):
    """What was said of one turn."""

    model = Feedback
    fields = ("sentiment", "comment_", "owner", "at")
    readonly_fields = fields
    can_delete = False
    show_change_link = True
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        return super().get_queryset(request).select_related("owner")

    @admin.display(description="comment")
    def comment_(self, obj: Feedback) -> SafeString | str:
        return block(obj.comment) if obj.comment else "-"
