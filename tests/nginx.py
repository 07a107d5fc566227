"""nginx with the configuration that we ship, `deploy/nginx.conf`, in front of servers of a test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from tests.provider import ROOT
from tests.server import KINDS, ServerProcess, Site

NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
CONFIGURATION = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
BACKLOG = 511


def configuration(changes: Mapping[str, str]) -> str:
    """What we ship, with other words in place of some of its own. Each of these has to be there."""
    told = CONFIGURATION
    for shipped, instead in changes.items():
        assert shipped in told, f"deploy/nginx.conf does not say {shipped!r}"
        told = told.replace(shipped, instead)
    return told


class Nginx:
    """nginx as the current user. Ended with the `with` block.

    Of what we ship only places are changed: port, the two upstreams, the folder for its files; and `changes`. It
    inherits its listening socket, so the port is free and nobody has to wait for it to be open.
    """

    def __init__(self, folder: Path, *servers: ServerProcess, changes: Mapping[str, str] | None = None) -> None:
        assert NGINX is not None, "CI_BROWSER=1 and there is no nginx"
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listening.setblocking(False)  # nginx leaves one that it inherits as it is, and would wait in `accept`
        self.port: int = self._listening.getsockname()[1]
        first, second = servers
        self._file = folder / "nginx.conf"
        self._file.write_text(
            configuration(
                {
                    "listen 8080;": f"listen 127.0.0.1:{self.port};",
                    "server web-1:8000;": f"server 127.0.0.1:{first.port};",
                    "server web-2:8000;": f"server 127.0.0.1:{second.port};",
                    "/tmp/": f"{folder}/",
                    "/dev/stdout": f"{folder}/access.log",
                    **(changes or {}),
                }
            )
        )
        self._errors = folder / "error.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def errors(self) -> str:
        """Its error log."""
        return self._errors.read_text()

    def reload(self) -> None:
        """`nginx -s reload`."""
        subprocess.run([*self._command, "-s", "reload"], check=True, capture_output=True)

    def __enter__(self) -> Nginx:
        descriptor = self._listening.fileno()
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command, env={"NGINX": f"{descriptor};"}, pass_fds=[descriptor], stderr=errors
            )
        self._listening.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    @property
    def _command(self) -> list[str]:
        assert NGINX is not None
        user = f"user {pwd.getpwuid(os.getuid()).pw_name};" if os.getuid() == 0 else ""  # else its workers are nobody
        return [NGINX, "-p", str(self._file.parent), "-c", str(self._file), "-g", user]


@contextmanager
def both_behind_nginx(
    site: Site, folder: Path, *, chat: Mapping[str, float] | None = None, changes: Mapping[str, str] | None = None
) -> Iterator[tuple[ServerProcess, ServerProcess, Nginx]]:
    """A daphne and a uvicorn, which start at the same time, and nginx in front of them."""
    with ExitStack() as alive, ThreadPoolExecutor() as pool:
        daphne, uvicorn = pool.map(lambda kind: alive.enter_context(site.start(kind, chat=chat)), KINDS)
        yield daphne, uvicorn, alive.enter_context(Nginx(folder, daphne, uvicorn, changes=changes))
