"""nginx exactly as we ship it, servers with their defaults, and viewers to whom nothing is said for minutes.

Collected only where `LONG=1` is in the environment.
"""

from __future__ import annotations

from pathlib import Path

from tests.client import Client
from tests.nginx import Nginx
from tests.server import Site
from tests.system.idle import hold

FIVE_MINUTES = 20
"""In heartbeats, of which one comes every 15 seconds."""


async def test_an_idle_socket_and_an_idle_stream_stay_open_for_five_minutes(
    site: Site, key: str, tmp_path: Path
) -> None:
    with site.start("daphne") as daphne, site.start("uvicorn") as uvicorn, Nginx(tmp_path, daphne, uvicorn) as nginx:
        heard = await hold(Client(nginx.url, key=key), heartbeats=FIVE_MINUTES)

    assert heard == [FIVE_MINUTES] * 4
    assert "timed out" not in nginx.errors
