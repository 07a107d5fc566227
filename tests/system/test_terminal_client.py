"""The chat in a terminal: a process of its own at a real server, seen through a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.provider import ROOT, ProviderProcess
from tests.server import ServerProcess

pytestmark = pytest.mark.parametrize("kind", ["uvicorn"], indirect=True)
CTRL_C, CTRL_D = "\x03", "\x04"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """Somebody at a keyboard, who sees everything that is shown."""

    def __init__(self, *arguments: str, key: str) -> None:
        ours, theirs = pty.openpty()
        self._keyboard = ours
        self.seen = ""
        self._news = threading.Condition()
        env = {**os.environ, "PYTHONPATH": str(ROOT / "client"), "VERBATIM_API_KEY": key}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "verbatim_client", *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True, preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def types(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def sees(self, words: str, *, times: int = 1) -> str:
        """Wait for these words; all that was seen."""
        with self._news:
            assert self._news.wait_for(lambda: self.seen.count(words) >= times, 60), self.seen
        return self.seen

    def ends(self) -> int:
        """The exit status."""
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(60)
        os.close(self._keyboard)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._keyboard, 65_536)
            except OSError:  # the process has ended
                return
            with self._news:
                self.seen += ESCAPES.sub("", data.decode()).replace("\r\n", "\n")
                self._news.notify_all()


def _own_terminal() -> None:
    """Make the standard input the controlling terminal, whose Ctrl-C reaches the process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(*arguments: str, key: str) -> Iterator[Terminal]:
    one = Terminal(*arguments, key=key)
    try:
        yield one
    finally:
        one.close()


def test_a_chat_streams_shows_tools_and_cost_is_stopped_and_left_by_ctrl_c(
    server: ServerProcess, key: str, provider: ProviderProcess
) -> None:
    call = {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "17 * 23"}'}
    usage = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}
    sums = [[{"tool": call}], [{"text": "It is "}, {"gate": "on"}, {"text": "391.\x1b[2J"}, {"usage": usage}]]
    provider.script(named={"sum": sums, "long": [{"text": "Once upon"}, {"gate": "never"}]})
    with terminal(server.url, key=key) as chat:
        chat.types("What is it? [[sum]]\n")
        chat.sees("It is ")
        provider.open_gate("on")
        chat.sees("[cost]")
        chat.types("[[long]]\n")
        chat.sees("Once upon")
        chat.types(CTRL_C)
        stopped = chat.sees("[stopped]")
        conversation = stopped.split("[conversation] ")[1].split()[0]
        chat.sees("\n> ", times=3)
        chat.types(CTRL_C)
        chat.sees("nothing to stop")
        chat.types(CTRL_C)

        assert chat.ends() == 0
        assert '[tool] calculator({"expression": "17 * 23"})\n[tool] calculator = 391 (' in stopped
        assert "It is 391.\ufffd[2J\n[cost] " in stopped
        assert " tokens in, " in stopped

    with terminal(server.url, "--conversation", conversation, key=key) as again:
        again.sees("> ", times=3)
        again.types(CTRL_D)

        assert again.ends() == 0
        assert "> What is it? [[sum]]\n" in again.seen
        assert "It is 391.\ufffd[2J\n[cost] " in again.seen


def test_ctrl_c_twice_leaves_an_answer_that_does_not_end(
    server: ServerProcess, key: str, provider: ProviderProcess
) -> None:
    provider.script([{"text": "Once upon"}, {"gate": "never"}])
    with terminal(server.url, key=key) as chat:
        chat.types("Go on.\n")
        chat.sees("Once upon")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            chat.types(CTRL_C)
            chat.sees("[Ctrl-C] stopping")
            chat.types(CTRL_C)

            assert chat.ends() == 130
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_a_wrong_key_is_one_line(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("vb_nonsense\n")

    with terminal(server.url, "--key-file", str(file), key="") as chat:
        status = chat.ends()

    assert status == 1
    assert chat.seen.startswith("unauthenticated: ")
    assert chat.seen.count("\n") == 1
