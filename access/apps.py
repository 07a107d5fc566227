"""The app that owns the API keys and the model profiles."""

from django.apps import AppConfig
from django.db.models.signals import m2m_changed, post_delete, post_save


class AccessConfig(AppConfig):
    name = "access"
    label = "verbatim_access"
    verbose_name = "Chat access"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and have it seen at once what changes in the tables of profiles and of keys."""
        from access import checks  # noqa: F401
        from access.keys import tell_rights_changed
        from access.models import ApiKey, Profile
        from access.profiles import changed

        for signal, sender in ((post_save, Profile), (post_delete, Profile), (m2m_changed, Profile.groups.through)):
            signal.connect(changed, sender=sender, dispatch_uid="verbatim profiles")
        for signal in (post_save, post_delete):
            signal.connect(tell_rights_changed, sender=ApiKey, dispatch_uid="verbatim keys")
