"""The app of the native face; it has no tables."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured

NEEDED = ("history", "access", "streaming")


class ChatConfig(AppConfig):
    name = "chat"
    label = "verbatim_chat"
    verbose_name = "Chat"

    def import_models(self) -> None:
        """Raises `ImproperlyConfigured` without the apps below: later, importing their models would fail with less to
        say."""
        missing = [name for name in NEEDED if not apps.is_installed(name)]
        if missing:
            raise ImproperlyConfigured(f"INSTALLED_APPS has 'chat', which needs {', '.join(map(repr, missing))} too.")
        super().import_models()

    def ready(self) -> None:
        """Register the checks, and mend the server."""
        from chat import checks, daphne_mended  # noqa: F401

        daphne_mended.mend()
