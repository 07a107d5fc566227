"""What the doors that start turns over HTTP have in common: how a request says that it was made before, and which turn
it gets."""

from __future__ import annotations

from rest_framework.request import Request

from access.principals import Principal
from history.conf import chat_settings
from streaming.repeats import Again, position_in
from streaming.turns import Started


def request_id_of(request: Request) -> str | None:
    """The caller's key for the turn, from `Idempotency-Key`; its form is checked with the order."""
    return request.headers.get("Idempotency-Key")


def again(request: Request, *, principal: Principal) -> Again:
    """How a repeated request may be told that brings no key: by `Last-Event-ID`, and from a browser by what it says."""
    return Again(
        position=position_in(request.headers.get("Last-Event-ID", "")),
        by_content=principal.key_id is None and chat_settings().join_repeated_posts,
    )


def headers_of(started: Started) -> dict[str, str]:
    """Which turn it is, and whether its answer was there already."""
    replayed = {"Idempotency-Replayed": "true"} if started.cached else {}
    return {
        "X-Verbatim-Turn": str(started.turn_id),
        "X-Verbatim-Conversation": str(started.conversation_id),
        **replayed,
    }
