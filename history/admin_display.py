"""How the admin shows what people and models wrote: always escaped, JSON indented, long things cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from history.draft import Part

EXCERPT = 120
TELLING = ("text", "content", "error", "reason", "status", "tool_calls", "outcome")
"""The fields of an event that say most about it, best first."""


def pretty(value: Any, *, limit: int | None = None) -> SafeString:
    """JSON, indented; cut after `limit` characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return block(text if limit is None else cut(text, limit=limit))


def block(text: str) -> SafeString:
    """Text with its line breaks and spaces."""
    return format_html('<pre class="verbatim-block">{}</pre>', text)


def as_stored(words: str) -> str:
    """Words as they stand inside a JSON string."""
    return json.dumps(words, ensure_ascii=False)[1:-1]


def cut(text: str, *, limit: int) -> str:
    """At most `limit` characters and a sign that there is more."""
    return text if len(text) <= limit else text[:limit] + "…"


def excerpt(data: Any, *, limit: int = EXCERPT) -> str:
    """The line by which a person recognises an event. Tolerant: what is stored may be of another version."""
    said = next((data[key] for key in TELLING if data.get(key)), data) if isinstance(data, dict) else data
    if not isinstance(said, str):
        said = json.dumps(said, ensure_ascii=False, default=str)
    return cut(" ".join(said[: 4 * limit].split()), limit=limit)


def moment(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def stretches(parts: Iterable[Part]) -> SafeString:
    """A draft as it stands: each run of reasoning and text under its name."""
    runs: list[tuple[str, str]] = []
    for part in parts:
        if runs and runs[-1][0] == part.channel:
            runs[-1] = (part.channel, runs[-1][1] + part.text)
        else:
            runs.append((part.channel, part.text))
    return format_html_join("", '<h4 class="verbatim-channel">{}</h4><pre class="verbatim-block">{}</pre>', runs)


def page(row: Model, label: object) -> SafeString:
    """A link to the admin page of a row."""
    return format_html('<a href="{}">{}</a>', reverse(_name(type(row), "change"), args=[row.pk]), label)


def rows(model: type[Model], label: str, **filters: object) -> SafeString:
    """A link to the list of the rows that the filters let through."""
    return format_html('<a href="{}?{}">{}</a>', reverse(_name(model, "changelist")), urlencode(filters), label)


def _name(model: type[Model], view: str) -> str:
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}"
