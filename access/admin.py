"""API keys in the admin: to be looked at and revoked. `manage.py create_api_key` makes them, and shows each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from access.keys import revoke
from access.models import ApiKey

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[ApiKey]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    fields = ("prefix", "name", "owner", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    readonly_fields = fields
    list_display = fields
    list_select_related = ("owner",)
    list_filter = ("revoked_at", "expires_at")
    search_fields = ("prefix", "name")
    ordering = ("-created_at",)
    show_full_result_count = False
    actions = ("revoke_keys",)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """They stop working at once, and open streams within a minute."""
        revoked = revoke(queryset)
        self.message_user(request, f"{revoked} revoked.", messages.SUCCESS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
