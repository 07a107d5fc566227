"""`manage.py purge_completion_logs`: what models were asked and have answered is kept for a while, then deleted."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from history.conf import chat_settings
from history.contents import purge


class Command(BaseCommand):
    """For cron, or whatever else comes by: any number of them at a time do no harm."""

    help = "Delete the contents of completion logs that are older than COMPLETION_LOG_RETENTION; the log stays."

    def handle(self, *args: Any, **options: Any) -> None:
        purged = purge(older=chat_settings().completion_log_retention)
        self.stdout.write(f"{purged} contents of completion logs deleted.")
