"""Through nginx as `deploy/nginx.conf` sets it up, what is silent for long stays: who idles, and who waits for a whole
answer."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from history.conf import ChatSettings
from tests.client import Client
from tests.nginx import CONFIGURATION, both_behind_nginx
from tests.provider import ProviderProcess, Script
from tests.server import Site
from tests.system.callers import CHAT, Caller
from tests.system.idle import hold

SCRIPTS: dict[str, Script] = {
    "silent": [{"pause": 3.0}, {"text": "Well."}],
    "held": [{"gate": "more"}, {"text": "Well."}],
}


async def test_who_hears_nothing_but_heartbeats_stays_connected(site: Site, key: str, tmp_path: Path) -> None:
    """Everything that is 75 s is 3 s here, and a heartbeat 1 s: held for more than three of the time-outs."""
    with both_behind_nginx(site, tmp_path, chat={"HEARTBEAT": 1.0}, changes={" 75s;": " 3s;"}) as (_, _, nginx):
        heard = await hold(Client(nginx.url, key=key), heartbeats=11)

    assert heard == [11] * 4
    assert "timed out" not in nginx.errors


def test_what_may_be_silent_is_given_more_time_than_it_needs() -> None:
    shipped = ChatSettings()
    time_outs = {name: int(value) for name, value in re.findall(r"^ {8}(\w+_timeout) (\d+)s;", CONFIGURATION, re.M)}
    for_answers = re.findall(r"location [^{]+ \{\s+proxy_read_timeout (\d+)s;", CONFIGURATION)

    for name in ("proxy_read_timeout", "proxy_send_timeout", "send_timeout"):
        assert time_outs[name] >= 4 * shipped.heartbeat
    assert len(for_answers) == 2
    assert all(int(seconds) > shipped.answer_timeout for seconds in for_answers)


async def test_who_waits_for_a_whole_answer_gets_it_after_a_long_silence(
    site: Site, key: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    """At every such door. Everything that is 75 s is 1 s here. One is silent for three times as long; two are asked
    before that, and answered after it."""
    provider.script(named=SCRIPTS)
    with both_behind_nginx(site, tmp_path, changes={" 75s;": " 1s;"}) as (daphne, _, nginx):
        caller, asker = Caller(nginx.url, key=key), Client(daphne.url, key=key)
        async with asker.socket(await asker.new_conversation()) as socket:
            await socket.send("[[held]]")
            await socket.until(lambda socket: bool(socket.folded.events))
        completion = {"model": "openai", "messages": [{"role": "user", "content": "[[held]]"}]}
        waiting = [
            asyncio.create_task(caller.get(f"/api/v1/turns/{socket.folded.events[1]['turn']}/response/")),
            asyncio.create_task(caller.post("/v1/chat/completions", completion)),
        ]
        await provider.requests_async(2)

        told = [await caller.ask(CHAT, "[[silent]]")]
        await asyncio.to_thread(provider.open_gate, "more")
        told += await asyncio.gather(*waiting)

    assert [answer.status for answer in told] == [200] * 3
    assert "timed out" not in nginx.errors
