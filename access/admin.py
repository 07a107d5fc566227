"""API keys in the admin: made, named, revoked. The text of a new one is in the answer that made it, nowhere else."""

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
        fields = ("owner", "name", "scopes", "expires_at")

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
        """They stop working at once, and open streams within a minute."""
        revoked = revoke(queryset)
        self.message_user(request, f"{revoked} revoked.", messages.SUCCESS)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return NewKeyForm.Meta.fields if obj is None else self.list_display

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return () if obj is None else tuple(name for name in self.list_display if name != "name")

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewKeyForm
        return super().get_form(request, obj, change, **kwargs)

    @sensitive_variables("obj", "text")
    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["name"])
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
