"""What runs on the loop beside the turns, and must not die unheard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

logger = logging.getLogger(__name__)


def have_done(chore: Coroutine[Any, Any, Any], *, loop: asyncio.AbstractEventLoop, name: str) -> asyncio.Task[Any]:
    """Have something done in a task of its own, in an empty context; if it fails, that is logged. Whoever asks keeps
    the task."""
    task = loop.create_task(chore, name=f"verbatim {name}", context=Context())
    task.add_done_callback(_tell)
    return task


def _tell(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and isinstance(error := task.exception(), Exception):
        logger.critical("%s has died", task.get_name(), exc_info=error)
