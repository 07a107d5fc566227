"""The app of the native face; it has no tables."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured

NEEDED = ("history", "access", "streaming")


class ChatConfig(AppConfig):
    name = "chat"
    label = "verbatim_chat"
    verbose_name = "Chat"

    def ready(self) -> None:
        """Register the checks, and mend the server. Raises `ImproperlyConfigured` without the apps below."""
        missing = [name for name in NEEDED if not apps.is_installed(name)]
        if missing:  # said here: importing models of an app that is not installed fails before any check runs
            raise ImproperlyConfigured(f"INSTALLED_APPS has 'chat', which needs {', '.join(map(repr, missing))} too.")
        from chat import checks, daphne_mended  # noqa: F401

        daphne_mended.mend()
