"""The app that owns the log's tables."""

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "history"
    label = "verbatim_history"
    verbose_name = "Chat history"
    default_auto_field = "django.db.models.BigAutoField"
