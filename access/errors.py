"""What the doors refuse: a name, a stable code and one sentence each."""

from __future__ import annotations

from history.errors import ChatError
from llm.errors import ModelError


class Unauthenticated(ChatError):
    """Sign in, or send a valid API key."""

    code = "unauthenticated"


class AccessEnded(ChatError):
    """You are no longer signed in."""

    code = "access_ended"


class Forbidden(ChatError):
    """This API key may not do that."""

    code = "forbidden"


class UnknownModel(ChatError):
    """There is no such model. Choose another one."""

    code = "unknown_model"


class RateLimited(ChatError):
    """You have asked for as much as you may for now. Please come back later."""

    code = "rate_limited"

    def __init__(self, *sentence: str, retry_after: int = 5) -> None:
        """`retry_after`, in seconds, is when asking again may help."""
        super().__init__(*sentence)
        self.retry_after = retry_after


class ProfileExists(ChatError):
    """There is a profile of that name already. Change it, or choose another name."""

    code = "profile_exists"


class ProfileReadOnly(ChatError):
    """This profile is one of the settings, which only the site's operator can change."""

    code = "profile_read_only"


class QuotaExceeded(ModelError):
    """The day's limit of tokens or cost is reached, or held by other answers in progress. What was said is kept."""

    code = "quota_exceeded"
