"""Real server processes, daphne or uvicorn, and sites for them: a database, a provider."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Protocol, TypeAlias

from bench.environment import ROOT, cleaned

Kind = Literal["daphne", "uvicorn"]
KINDS: tuple[Kind, ...] = ("daphne", "uvicorn")

COMMANDS: Mapping[Kind, str] = {
    "daphne": "daphne -v 1 -b 127.0.0.1 -p {port}",
    "uvicorn": "uvicorn --host 127.0.0.1 --port {port} --ws websockets-sansio --ws-per-message-deflate false",
}
KEYS = """
from django.core.management import call_command
for user in {!r}: call_command("create_api_key", user, "--create-user")
"""
LISTENING = re.compile(r"(?:Listening on TCP address 127\.0\.0\.1|Uvicorn running on http://127\.0\.0\.1):(\d+)")


class Process(Protocol):
    """What a `subprocess.Popen` with a pipe for its standard error can do."""

    pid: int
    stderr: IO[str] | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def send_signal(self, number: int) -> None: ...
    def kill(self) -> None: ...


class Start(Protocol):
    """Starts a process in a folder."""

    def __call__(self, command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> Process: ...


class Run(Protocol):
    """Runs `manage.py` with these arguments to its end: what it prints. Raises `subprocess.CalledProcessError`."""

    def __call__(self, arguments: Sequence[str], *, env: Mapping[str, str]) -> str: ...


def managed(arguments: Sequence[str], *, env: Mapping[str, str]) -> str:
    """As anybody runs it."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout


def executed(command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> Process:
    """As anybody starts one."""
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


class Site:
    """A database and the environment in which servers and commands of this site run."""

    def __init__(
        self,
        folder: Path,
        *,
        provider_url: str,
        database_url: str | None = None,
        env: Mapping[str, str] | None = None,
        migrated: bool = False,
        starting: Start = executed,
        managing: Run = managed,
    ) -> None:
        """`migrated` tells that the database has all tables already."""
        self._starting = starting
        self._managing = managing
        self.env = {
            **cleaned(os.environ),
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DATABASE_URL": database_url or f"sqlite:///{folder / 'site.sqlite3'}",
            "OPENAI_BASE_URL": provider_url,
            "OPENAI_MODEL": "scripted",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        if not migrated:
            self.manage("migrate", "--verbosity", "0")

    def at(self, database_url: str, **env: str) -> Site:
        """The same site at another database, which has all tables already; perhaps with more in its environment."""
        other = copy(self)
        other.env = {**self.env, "DATABASE_URL": database_url, **env}
        return other

    def plain(self) -> Site:
        """The same site, whose processes are started as anybody starts one."""
        other = copy(self)
        other._starting = executed
        return other

    def manage(self, *command: str) -> str:
        """What `manage.py COMMAND` prints."""
        return self._managing(command, env=self.env)

    def key_for(self, user: str) -> str:
        """A new API key of that user, who is made if missing."""
        (key,) = self.keys_for(user)
        return key

    def keys_for(self, *users: str) -> list[str]:
        """A new API key of each of these users, all in one process."""
        return self.manage("shell", "-v", "0", "-c", KEYS.format(users)).split()

    def start(
        self,
        kind: Kind,
        *,
        port: int = 0,
        chat: Mapping[str, Any] | None = None,
        application: str = "config.asgi:application",
        options: str = "",
    ) -> ServerProcess:
        """A server process of this site; `chat` overrides keys of `CHAT`, `options` are more of its command line."""
        env = {**self.env, "CHAT_OVERRIDES": json.dumps(chat or {})}
        return ServerProcess(kind, env=env, port=port, application=application, options=options, start=self._starting)


NewSite: TypeAlias = Callable[[], tuple[Site, str]]
"""Makes a site, and tells the API key of its user."""


class ServerProcess:
    """One server, listening. Its log is in `lines`. Ended with the `with` block, if not before."""

    def __init__(
        self,
        kind: Kind,
        *,
        env: Mapping[str, str],
        port: int = 0,
        folder: Path = ROOT,
        application: str = "config.asgi:application",
        options: str = "",
        command: Sequence[str] = (),
        start: Start = executed,
    ) -> None:
        """`command` is that of a server that is none of ours, but logs like one of this kind."""
        self.kind = kind
        self.lines: list[str] = []
        ours = f"{sys.executable} -m {COMMANDS[kind].format(port=port)} {options} {application}".split()
        self._process = start(command or ours, folder=folder, env=env)
        self._listening = threading.Event()
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._listening.wait(120) or not self.port:
            self.__exit__(None, None, None)
            raise RuntimeError("the server did not start:\n" + "".join(self.lines))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def interrupt(self) -> None:
        """SIGINT; does not wait."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self._process.kill()
        self.wait()

    def wait(self, timeout: float = 30) -> int:
        """The exit code, once it has ended and its log is complete."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            found = LISTENING.search(line)
            if found and not self.port:
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()
