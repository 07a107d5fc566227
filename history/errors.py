"""What the log refuses: a name, a stable code and one sentence each."""

from __future__ import annotations


class ChatError(Exception):
    """The chat refused this."""

    code = "error"

    @property
    def message(self) -> str:
        """One sentence for the caller."""
        return str(self.args[0]) if self.args else str(type(self).__doc__)


class NotFound(ChatError):
    """There is no such conversation or turn."""

    code = "not_found"


class Fenced(ChatError):
    """This turn belongs to another process now; nothing was written."""

    code = "fenced"
