"""Why a turn failed where no model is to blame; PROTOCOL.md lists them beside the models' errors."""

from __future__ import annotations

from history.events import TurnError

INTERNAL = TurnError(
    code="internal", message="Something went wrong on the server. What was said is kept; please retry."
)
INTERRUPTED = TurnError(code="interrupted", message="The answer was interrupted. What was said is kept; please retry.")
