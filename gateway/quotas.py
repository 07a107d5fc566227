"""What is left of a key's limits, in the headers by which OpenAI's clients pace themselves."""

from __future__ import annotations

from access.limits import Payer
from access.principals import Principal
from access.standing import standing
from history.connections import AWAY


def headers_for(principal: Principal) -> dict[str, str]:
    """`X-RateLimit-*`, for each limit that there is. None while the database is away: an answer is worth more."""
    try:
        told = standing(Payer(principal.user_id, principal.key_id))
    except AWAY:
        return {}
    headers: dict[str, str] = {}
    for name, left in zip(("Requests", "Tokens"), told, strict=True):
        if left is not None:
            headers[f"X-RateLimit-Limit-{name}"] = str(left.limit)
            headers[f"X-RateLimit-Remaining-{name}"] = str(left.remaining)
            headers[f"X-RateLimit-Reset-{name}"] = duration(left.reset)
    return headers


def duration(seconds: int) -> str:
    """As OpenAI writes it: `1s`, `6m0s`, `5h0m12s`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
