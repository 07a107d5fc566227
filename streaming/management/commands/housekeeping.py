"""`manage.py housekeeping`: an engine without web traffic, which goes on with turns that nobody keeps."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from streaming.engine import ensure_started


class Command(BaseCommand):
    help = "Take over turns whose process is gone, launch those without one, and tidy up, until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(_keep_house())


async def _keep_house() -> None:
    """Until the engine has ended, which it does on a signal; then it calls the handlers that are set here."""
    ended = asyncio.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    ensure_started()
    await ended.wait()
