"""`manage.py write_protocol`: makes the generated parts of PROTOCOL.md anew."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from chat.protocol import rewritten


class Command(BaseCommand):
    help = "Make the generated parts of PROTOCOL.md anew."

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / "PROTOCOL.md"
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
