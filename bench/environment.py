"""The environment in which servers run here: fixed, so that nobody's own keys or `.env` leak in."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent

MINE = ("SECRET_KEY", "ALLOWED_HOSTS", "ALLOWED_ORIGINS", "REDIS_URL", "DATABASE_URL", "CHAT_MODEL", "LOG_LEVEL")
FIXED = {"ENV_FILE": os.devnull, "DEBUG": "0", "HTTPS": "0", "TITLES": "0", "SECRET_KEY": "only-for-tests"}


def is_somebodys(name: str) -> bool:
    """Whether a variable is one with which a person tells the site of a key, a model or a database."""
    return name in MINE or name.startswith(("OPENAI_", "PROVIDER_", "DATABASE_"))


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is somebody's, and with what is fixed."""
    return {**{name: value for name, value in environment.items() if not is_somebodys(name)}, **FIXED}


def heed_interrupts() -> None:
    """Let servers that are started from here hear SIGINT, also where a shell has told its background jobs not to: they
    would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
