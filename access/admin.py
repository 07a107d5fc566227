"""API keys in the admin: made, limited, revoked. The text of a new one is in the answer that made it, nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from access import admin_profiles  # noqa: F401 -- registers the profiles
from access.keys import give_text, revoke
from access.models import ApiKey
from access.principals import Scope
from access.standing import used_today

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[ApiKey]
    ModelForm = forms.ModelForm[ApiKey]
else:
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm

SCOPES = (
    (Scope.READ, "read: conversations, their events and the models"),
    (Scope.CHAT, "chat: send messages, stop answers, make, rename and delete conversations"),
    (Scope.ADMIN, "admin: decide what else the site decides, such as the system prompt"),
)


LIMITS = ("max_turns", "turns_per_minute", "tokens_per_day", "cost_per_day")
"""What may be changed of a key at any time, as its name may."""


class NewKeyForm(ModelForm):
    """What a key is to be."""

    scopes = forms.MultipleChoiceField(
        choices=SCOPES, initial=[Scope.READ, Scope.CHAT], widget=forms.CheckboxSelectMultiple
    )
    expires_at = forms.SplitDateTimeField(
        label="Expires", required=False, widget=AdminSplitDateTime, help_text="Empty: never."
    )

    class Meta:
        model = ApiKey
        fields = ("owner", "name", "scopes", "expires_at", *LIMITS)

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(ModelAdmin):
    """Whoever may add keys may make them for anybody."""

    list_display = ("prefix", "name", "owner", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    list_filter = ("revoked_at", "expires_at")
    search_fields = ("prefix", "name")
    ordering = ("-created_at",)
    show_full_result_count = False
    raw_id_fields = ("owner",)
    actions = ("revoke_keys",)

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """They stop working at once, and open streams as soon as all processes have heard of it."""
        revoked = revoke(queryset)
        self.message_user(request, f"{revoked} revoked.", messages.SUCCESS)

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        told = ("owner", "name", "scopes", "expires_at") if obj is None else (*self.list_display, "today")
        hint = "These come in addition to the user's. What is empty is as the settings say."
        return (None, {"fields": told}), ("Limits", {"fields": LIMITS, "description": hint})

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return () if obj is None else (*(name for name in self.list_display if name != "name"), "today")

    @admin.display(description="today (UTC)")
    def today(self, obj: ApiKey) -> str:
        """What the log has of it since midnight."""
        used = used_today(obj)
        return f"{used.turns:,} answers, {used.tokens:,} tokens, ${used.cost:,.6f}"

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewKeyForm
        return super().get_form(request, obj, change, **kwargs)

    @sensitive_variables("obj", "text")
    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name", *LIMITS])
            return
        obj.text = give_text(obj)
        obj.save(force_insert=True)

    @sensitive_variables()
    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The only page with the key's text. It is an answer to a POST and not to be kept: neither a reload nor the
        browser's history shows it again."""
        shown = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"API key {obj.prefix}",
            "key": obj,
            "is_popup": IS_POPUP_VAR in request.POST,
        }
        return TemplateResponse(
            request, "admin/verbatim_access/apikey/created.html", shown, headers={"Cache-Control": "no-store"}
        )

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})
