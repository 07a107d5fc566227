"""The app that owns the API keys."""

from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "access"
    label = "verbatim_access"
    verbose_name = "Chat access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks."""
        from access import checks  # noqa: F401
