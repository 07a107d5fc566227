"""Server processes that are forked from one that has imported the libraries already: a start takes a quarter of the
time, and the tests start hundreds. Each is a process like any other: it runs a module, has its own environment and
descriptors, and is a child of the test's process, which waits for it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from bench.environment import ROOT
from tests.nursery.born import Born

PATIENCE = 60.0
"""Seconds that a command may take to end, once it has closed its standard error."""
SET_CHILD_SUBREAPER = 36
"""Of `prctl(2)`: a process whose parent ends becomes our child."""


class Nursery:
    """Forks processes, one at a time, from its own, which is started when it is first needed and ends with ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], into: Sequence[int]) -> int:
        """The id of a new process that runs `python -m ARGUMENTS`. Its standard error goes `into` the first descriptor,
        what it prints into the second, or nowhere."""
        asked = msgspec.json.encode(Born(arguments=list(arguments), folder=str(folder), env=dict(env)))
        with self._lock:
            self._line = self._line or self._open()
            socket.send_fds(self._line, [asked], into)
            return int(self._line.recv(32))

    def _open(self) -> socket.socket:
        if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this process cannot take in what its children leave behind")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.nursery", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        return ours


NURSERY = Nursery()


class Forked:
    """A process of the nursery, used like a `subprocess.Popen` with a pipe for its standard error. What it prints goes
    into `stdout`, or nowhere."""

    def __init__(
        self, command: Sequence[str], *, folder: Path, env: Mapping[str, str], stdout: int | None = None
    ) -> None:
        python, option, *arguments = command
        assert (python, option) == (sys.executable, "-m"), "a nursery runs modules"
        ours, theirs = os.pipe()
        self.stderr: IO[str] | None = os.fdopen(ours)
        try:
            into = [theirs] if stdout is None else [theirs, stdout]
            self.pid = NURSERY.start(arguments, folder=folder, env=env, into=into)
        finally:
            os.close(theirs)
        self._status = os.pidfd_open(self.pid)
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, if it has ended; of a signal, its negative number."""
        with self._lock:
            if self._code is None and select.select([self._status], [], [], 0)[0]:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                os.close(self._status)
            return self._code

    def wait(self, timeout: float) -> int:
        """The exit code; `subprocess.TimeoutExpired` after so many seconds."""
        if (code := self.poll()) is None:
            select.select([self._status], [], [], timeout)
            if (code := self.poll()) is None:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def managed(arguments: Sequence[str], *, env: Mapping[str, str]) -> str:
    """What `manage.py ARGUMENTS` prints. Raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", "manage", *arguments]
    with tempfile.TemporaryFile("w+") as printed:
        process = Forked(command, folder=ROOT, env=env, stdout=printed.fileno())
        assert process.stderr is not None
        with process.stderr as told:
            errors = told.read()
        code = process.wait(PATIENCE)
        printed.seek(0)
        if code:
            raise subprocess.CalledProcessError(code, command, printed.read(), errors)
        return printed.read()
