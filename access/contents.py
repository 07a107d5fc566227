"""Who may read what models were asked and have answered: it needs a permission beside the right to the conversation."""

from __future__ import annotations

from django.contrib.auth import get_user_model

from access.errors import Forbidden
from access.principals import Principal, Scope

PERMISSION = "verbatim_history.view_completioncontent"
"""It is about system prompts, tools and everything else that a site adds to what people say."""


def may_read_contents(principal: Principal) -> bool:
    """Whether the principal may, in conversations that it may see; a key as its user."""
    user = get_user_model()._default_manager.filter(pk=principal.user_id).first()
    has_perm = getattr(user, "has_perm", lambda _: False)  # the users of a site need have no permissions
    return Scope.READ in principal.scopes and bool(has_perm(PERMISSION))


def require_contents(principal: Principal) -> None:
    """Raises `Forbidden` if it may not."""
    if not may_read_contents(principal):
        raise Forbidden(f"This needs the permission {PERMISSION}.")
