"""`manage.py housekeeping`: an engine without web traffic."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.environment import ROOT
from tests.client import Client, ended
from tests.provider import ProviderProcess
from tests.server import NewSite, Site

HASTY = {"LEASE": 1.0, "LEASE_RENEWAL": 0.2}
FULL = {**HASTY, "MAX_TURNS": 0}
"""A process that carries no turn itself."""


@contextmanager
def housekeeping(site: Site) -> Iterator[subprocess.Popen[str]]:
    env = {**site.env, "CHAT_OVERRIDES": json.dumps(HASTY)}
    command = [sys.executable, "manage.py", "housekeeping"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_goes_on_with_the_turns_of_the_dead_and_ends_when_it_is_told_to(
    how: signal.Signals, new_site: NewSite, provider: ProviderProcess
) -> None:
    """R10. The only process that is left for viewers has no room for turns."""
    provider.script([{"text": "All well."}], queue=[[{"words": 3000, "rate": 100}]])
    site, key = new_site()
    with site.start("uvicorn", chat=HASTY) as owner, site.start("uvicorn", chat=FULL) as other:
        conversation = await Client(owner.url, key=key).new_conversation()
        async with Client(owner.url, key=key).socket(conversation) as asking:
            await asking.send("Tell me.")
            await asking.until(lambda socket: bool(socket.folded.draft))
            owner.kill()

        async with Client(other.url, key=key).socket(conversation) as viewer:
            with housekeeping(site) as process:
                await viewer.until(ended())
                process.send_signal(how)
                status = await asyncio.to_thread(process.wait, 30)

    kinds = [event["kind"] for event in viewer.folded.events.values()]
    assert kinds == ["user_message", "turn_restarted", "assistant_message", "turn_ended"]
    assert viewer.folded.events[3]["data"]["text"] == "All well."
    assert status == 0
