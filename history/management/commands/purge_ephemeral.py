"""`manage.py purge_ephemeral`: conversations that were made for one request are kept for a while, then deleted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from history.conf import chat_settings
from history.conversations import purge


class Command(BaseCommand):
    """For cron, or whatever else comes by: any number of them at a time do no harm."""

    help = "Delete the conversations of single requests that are older than EPHEMERAL_RETENTION."

    def handle(self, *args: Any, **options: Any) -> None:
        purged = purge(unused_for=chat_settings().ephemeral_retention)
        self.stdout.write(f"{purged} conversations deleted.")
