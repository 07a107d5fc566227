"""What a token costs: N streams through a real server, one viewer each; prints CPU per token and added latency.

`python -m bench.streams --server uvicorn --streams 100 --seconds 20`. The server has one core, the provider and this
program the other. CPU is the server's own, user and system, over the time in which all streams run. Latency is from the
moment when the provider wrote a word to the moment when it is here.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import aiohttp
import psutil
import uvloop

from bench.provider.process import ProviderProcess
from bench.servers import KINDS, ServerProcess, Site

RATE = 50
WARM_UP = 3.0
SERVER_CORE, LOAD_CORE = 0, 1


class Measured(NamedTuple):
    """Of one run: µs of CPU per token, frames and bytes per token, added latency in ms."""

    cpu: float
    tokens: int
    frames: int
    bytes: int
    p50: float
    p99: float


class Load:
    """N viewers, each of one conversation with one turn."""

    def __init__(self, url: str, *, key: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {key}"}
        self.measuring = False
        self.latencies: list[float] = []
        self.frames = 0
        self.bytes = 0
        self.open = 0

    async def stream(self, session: aiohttp.ClientSession) -> None:
        """Start a turn and read it to its end."""
        async with session.post(f"{self.url}/api/v1/conversations/", json={}) as made:
            conversation = (await made.json())["id"]
        address = f"{self.url}/ws/conversations/{conversation}/"
        async with session.ws_connect(address, max_msg_size=0, compress=0) as socket:
            await socket.send_str(json.dumps({"type": "send", "request_id": conversation, "text": "go"}))
            async for message in socket:
                text: str = message.data
                if text.startswith('{"type":"delta"'):
                    self.saw(text)
                elif '"kind":"turn_ended"' in text:
                    return

    def saw(self, text: str) -> None:
        """A delta is here: note its newest word's age."""
        if not self.measuring:
            return
        self.frames += 1
        self.bytes += len(text)
        for stamp in text.split("@")[1:]:
            self.latencies.append(time.time() * 1e3 - int(stamp.split(" ", 1)[0]) / 1e3)

    async def run(self, streams: int, *, seconds: float, server: ServerProcess) -> Measured:
        """Run all streams; measure from when they have warmed up, for `seconds`."""
        async with aiohttp.ClientSession(
            headers=self.headers, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout()
        ) as session:
            viewers = [asyncio.create_task(self.stream(session)) for _ in range(streams)]
            await asyncio.sleep(WARM_UP + streams / 50)
            before = cpu_of(server.pid)
            self.measuring = True
            await asyncio.sleep(seconds)
            self.measuring = False
            used = cpu_of(server.pid) - before
            await asyncio.gather(*viewers)
        tokens = len(self.latencies)
        return Measured(
            cpu=used / tokens * 1e6,
            tokens=tokens,
            frames=self.frames,
            bytes=self.bytes // tokens,
            p50=median(self.latencies),
            p99=quantiles(self.latencies, n=100)[98],
        )


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.streams", description="What a token costs.")
    parser.add_argument("--server", choices=KINDS, default="uvicorn")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ProviderProcess() as provider:
        words = int(RATE * (options.seconds + 2 * WARM_UP + options.streams / 25))
        provider.script([{"words": words, "rate": RATE, "stamped": True}])
        site = Site(Path(folder), provider_url=provider.base_url)
        key = site.key_for("bench")
        with site.start(options.server, chat={"MAX_TURNS_PER_USER": 100_000}) as server:
            os.sched_setaffinity(server.pid, {SERVER_CORE})
            os.sched_setaffinity(0, {LOAD_CORE})
            os.sched_setaffinity(provider.pid, {LOAD_CORE})
            gc.disable()
            load = Load(server.url, key=key)
            print(f"{options.server}, {options.streams} streams of {RATE} tokens/s, pid {server.pid}", flush=True)
            measured = uvloop.run(load.run(options.streams, seconds=options.seconds, server=server))
    print(
        f"{measured.cpu:.1f} µs CPU per token; {measured.frames / measured.tokens:.2f} frames and"
        f" {measured.bytes} bytes per token;"
        f" added latency p50 {measured.p50:.1f} ms, p99 {measured.p99:.1f} ms ({measured.tokens} tokens)"
    )


if __name__ == "__main__":
    main()
