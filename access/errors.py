"""What the doors refuse: a name, a stable code and one sentence each."""

from __future__ import annotations

from history.errors import ChatError


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
