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
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from bench.environment import ROOT
from tests.nursery.born import Born

SET_CHILD_SUBREAPER = 36
"""Of `prctl(2)`: a process whose parent ends becomes our child."""


class Nursery:
    """Forks processes, one at a time, from its own, which is started when it is first needed and ends with ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: Sequence[str], *, folder: Path, env: Mapping[str, str], stderr: int) -> int:
        """The id of a new process that runs `python -m ARGUMENTS`."""
        asked = msgspec.json.encode(Born(arguments=list(arguments), folder=str(folder), env=dict(env)))
        with self._lock:
            self._line = self._line or self._open()
            socket.send_fds(self._line, [asked], [stderr])
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
    """A process of the nursery, used like a `subprocess.Popen` with a pipe for its standard error."""

    def __init__(self, command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> None:
        python, option, *arguments = command
        assert (python, option) == (sys.executable, "-m"), "a nursery runs modules"
        ours, theirs = os.pipe()
        self.stderr: IO[str] | None = os.fdopen(ours)
        try:
            self.pid = NURSERY.start(arguments, folder=folder, env=env, stderr=theirs)
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
