"""`python -m bench.provider --port 0`: serve until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal

import uvloop
from aiohttp import web

from bench.provider.server import Provider


async def serve(host: str, *, port: int) -> None:
    """Listen, say where in one line of JSON, and run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(Provider().app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    gc.freeze()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.provider", description="A provider that says what it is told to.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.host, port=options.port))


if __name__ == "__main__":
    main()
