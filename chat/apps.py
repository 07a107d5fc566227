"""The app of the native face; it has no tables."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
    label = "verbatim_chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        """Register the checks."""
        from chat import checks  # noqa: F401
