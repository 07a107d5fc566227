"""What can go wrong with a model call: a name, a stable code and one sentence each."""

from __future__ import annotations


class ModelError(Exception):
    """The model call failed."""

    code = "model_error"
    retryable = False

    def __init__(self, *, retry_after: float | None = None, status: int | None = None) -> None:
        """`retry_after` in seconds and the HTTP `status`, where the provider gave them. Never the provider's own
        words: they may name a URL or a key."""
        self.retry_after = retry_after
        self.status = status
        super().__init__(str(type(self).__doc__))

    @property
    def message(self) -> str:
        """One sentence for the person who waits."""
        return str(type(self).__doc__)


class RateLimited(ModelError):
    """The model is receiving too many requests. Please try again shortly."""

    code = "rate_limited"
    retryable = True


class Unavailable(ModelError):
    """The model could not be reached. Please try again."""

    code = "unavailable"
    retryable = True


class Stalled(ModelError):
    """The model stopped answering. Please try again."""

    code = "stalled"
    retryable = True


class TimedOut(ModelError):
    """The model took longer than it may. Please try again, or ask for less."""

    code = "timed_out"


class Truncated(ModelError):
    """The model's answer broke off. What arrived was kept; please retry."""

    code = "truncated"
    retryable = True


class EmptyReply(ModelError):
    """The model answered with nothing. Please retry."""

    code = "empty_reply"
    retryable = True


class Malformed(ModelError):
    """The model's answer could not be understood. What arrived was kept; please retry."""

    code = "malformed"
    retryable = True


class ContextTooLong(ModelError):
    """The conversation is too long for this model. Start a new one, or choose a model with a larger context."""

    code = "context_too_long"


class BadRequest(ModelError):
    """The model refused the request."""

    code = "bad_request"


class ImageRefused(BadRequest):
    """The model refused an image. Choose a model that takes images, or send another one."""

    code = "image_refused"


class AuthenticationFailed(ModelError):
    """The model refused this site's credentials. Please tell the site's operator."""

    code = "authentication_failed"


class NotStreaming(ModelError):
    """This model cannot stream, and only streaming models can be used."""

    code = "not_streaming"


REFUSALS = (AuthenticationFailed, BadRequest, ContextTooLong, NotStreaming, RateLimited, Unavailable)
"""How a provider says no before it begins: nothing was used."""
