"""Model profiles in the admin: those of the settings to look at, those of the table to make, change and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from access.models import Audience, Profile
from access.profile_table import check_new, problem_of, shown_address, tool_names
from access.profiles import registry
from history.conf import chat_settings
from llm.prices import Prices
from llm.profiles import NAME, NAME_RULE, NO_KEYS
from llm.registry import BadProfile

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Profile]
    ModelForm = forms.ModelForm[Profile]
else:
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm


class Lines(forms.CharField):
    """Texts, one on each line; spaces count."""

    widget = forms.Textarea

    def __init__(self, **more: Any) -> None:
        super().__init__(strip=False, required=False, **more)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str] | None:
        """Those that are not empty; None if all are."""
        return [line for line in super().clean(value).splitlines() if line] or None


class ProfileForm(ModelForm):
    """What a profile is to be. Whatever could not work is refused with the reason."""

    api_key_name = forms.ChoiceField(
        label="Variable of the key",
        required=False,
        help_text="The name of an allowed variable of the environment, never a key.",
    )
    all_tools = forms.BooleanField(label="All tools of the site", required=False, initial=True)
    tools = forms.MultipleChoiceField(
        label="Or only these", required=False, widget=forms.CheckboxSelectMultiple, choices=()
    )
    stop = Lines(help_text="The answer ends before any of these texts; one on each line.", max_length=500)

    class Meta:
        model = Profile
        exclude = ("created_at",)
        help_texts = {  # noqa: RUF012 -- the form Django wants
            "name": "What clients say to choose it. It cannot be changed later.",
            "label": "What people read; the name, if empty.",
            "adapter": "direct, if the provider speaks OpenAI's protocol; litellm for others; auto: litellm for a"
            " provider/model without base URL.",
            "model": "What the provider calls it; the name, if empty.",
            "base_url": "With its version, such as https://host/v1. Empty: the provider's own.",
            "max_output_tokens": "Of one model call.",
        }
        widgets = {"base_url": forms.TextInput(attrs={"class": "vLargeTextField"})}  # noqa: RUF012 -- the same

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        offered: Any = self.fields  # without those that are read-only for whoever asks
        if "api_key_name" in offered:
            names = {*chat_settings().provider_keys, row.api_key_name} - NO_KEYS - {""}
            offered["api_key_name"].choices = [("", "none"), *((name, name) for name in sorted(names))]
        if "tools" in offered:
            offered["tools"].choices = [(name, name) for name in dict.fromkeys([*tool_names(), *(row.tools or ())])]
            offered["all_tools"].initial = row.tools is None

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if NAME.fullmatch(name) is None:
            raise ValidationError(f"{NAME_RULE.capitalize()}.")
        return name

    def clean(self) -> Any:
        """All tools go before those that are chosen."""
        super().clean()
        if self.cleaned_data.get("all_tools"):
            self.cleaned_data["tools"] = None
        return self.cleaned_data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # puts what was said into the row
        if self.errors:
            return
        try:
            check_new(self.instance, registry=registry())
        except BadProfile as problem:
            self.add_error(None, str(problem))


@admin.register(Profile)
class ProfileAdmin(ModelAdmin):
    """The list begins with the profiles of the settings."""

    form = ProfileForm
    change_list_template = "admin/verbatim_access/profile/change_list.html"
    list_display = ("name", "label", "model", "adapter", "base_url", "api_key_name", "for_whom", "state")
    search_fields = ("name", "label", "model")
    ordering = ("created_at", "pk")
    filter_horizontal = ("groups",)
    fieldsets = (
        (None, {"fields": ("name", "label", "state", "created_at")}),
        ("Provider", {"fields": ("adapter", "model", "base_url", "api_key_name")}),
        ("For whom", {"fields": ("audience", "groups")}),
        ("What it is told and given", {"fields": ("system_prompt", "all_tools", "tools")}),
        ("Sampling", {"fields": (("temperature", "top_p", "seed"), "stop")}),
        ("Limits", {"fields": (("max_output_tokens", "context_window"),)}),
        (
            "Prices",
            {
                "fields": (("input_price", "output_price", "cached_price"),),
                "description": "US dollars for a million tokens. Empty: those of the list of models, if it is there.",
            },
        ),
    )

    class Media:
        css = {"all": ("verbatim/admin.css",)}  # noqa: RUF012 -- the form Django wants

    @admin.display(description="who may use it")
    def for_whom(self, row: Profile) -> str:
        groups = ", ".join(sorted(group.name for group in row.groups.all()))
        return f"groups: {groups or 'none'}" if row.audience == Audience.GROUPS else row.audience

    @admin.display(description="state")
    def state(self, row: Profile) -> str:
        return f"not offered: {problem}" if (problem := problem_of(row, registry=registry())) else "offered"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Profile]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Profile | None = None) -> Any:
        return ("state", "created_at") if obj is None else ("name", "state", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: Profile | None = None) -> Any:
        """What is not there yet has no state, and who may only look has no use for a switch."""
        hidden = ["state", "created_at"] if obj is None else []
        if obj is not None and not self.has_change_permission(request, obj):
            hidden.append("all_tools")
        return [
            (title, {**told, "fields": [field for field in told["fields"] if field not in hidden]})
            for title, told in super().get_fieldsets(request, obj)
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, behind those of the settings."""
        return super().changelist_view(request, {**(extra_context or {}), "of_settings": of_settings()})


def of_settings() -> list[dict[str, Any]]:
    """The profiles of the settings, as they are shown: without what may be credentials."""
    return [
        {
            "profile": profile,
            "address": shown_address(profile),
            "tools": "all" if profile.tools is None else ", ".join(profile.tools) or "none",
            "prices": _prices(profile.prices),
        }
        for profile in registry().profiles
    ]


def _prices(prices: Prices | None) -> str:
    return f"{prices.input.normalize():f} / {prices.output.normalize():f}" if prices else ""
