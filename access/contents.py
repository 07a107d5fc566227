"""Who may read what models were asked and have answered, and who did: it needs a permission beside the right to the
conversation."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from access.errors import Forbidden
from access.principals import Principal, Scope
from history.contents import content_of

logger = logging.getLogger(__name__)

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


def content_for(principal: Principal, conversation_id: UUID, *, seq: int) -> dict[str, Any] | None:
    """What was kept of that call in a conversation that the principal may see, who is noted as having read it; None if
    nothing was, or not any more. Raises `Forbidden`."""
    require_contents(principal)
    content = content_of(conversation_id, seq=seq)
    if content is not None:
        logger.info("user %s reads completion log %d of conversation %s", principal.user_id, seq, conversation_id)
    return content
