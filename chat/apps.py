"""The app of the native face; it has no tables."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    label = "verbatim_chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        """Register the checks, and mend the server."""
        from chat import checks, daphne_mended  # noqa: F401

        daphne_mended.mend()
