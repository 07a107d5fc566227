"""The app of the engine; it has no tables."""

from django.apps import AppConfig


class StreamingConfig(AppConfig):
    name = "streaming"
    label = "verbatim_streaming"
    verbose_name = "Chat streaming"

    def ready(self) -> None:
        """Register the checks."""
        from streaming import checks  # noqa: F401
