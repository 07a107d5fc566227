"""What `manage.py check` finds wrong with the settings of the pages."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

GUESTS_WITHOUT_DEBUG = Error(
    "CHAT: GUESTS signs every visitor in, which is for development only.",
    hint="Remove GUESTS, or set DEBUG.",
    id="verbatim.E004",
)


@register("verbatim")
def check_guests(**_: Any) -> list[CheckMessage]:
    """Guests only with DEBUG."""
    return [GUESTS_WITHOUT_DEBUG] if getattr(settings, "CHAT", {}).get("GUESTS") and not settings.DEBUG else []
