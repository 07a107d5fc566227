"""llmock, a provider that other people wrote, as tests use it: started as a process, driven over HTTP.

Unless it is told what to say, it calls a tool of its own choice with arguments made from our schema, and answers in
text when the result has come. What it can be told is in its `/_llmock/` interface: https://github.com/JulienRabault/LLMock
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
from types import TracebackType
from typing import Any

LISTENING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")


class IndependentProvider:
    """A running llmock that says a word every `pace` milliseconds. Its calls block."""

    def __init__(self, *, pace: int) -> None:
        command = f"llmock.cli serve --port 0 --stream-chunk-delay-ms {pace}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command.split()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        found = next((match for line in self._process.stderr if (match := LISTENING.search(line))), None)
        if found is None:
            self._process.wait()
            raise RuntimeError("llmock did not start")
        self.root = f"http://127.0.0.1:{found[1]}"
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()

    @property
    def base_url(self) -> str:
        """What a client of OpenAI's protocol is given."""
        return f"{self.root}/v1"

    def plan(self, *behaviours: dict[str, Any]) -> None:
        """Queue what the next requests meet; each takes the first of every type."""
        self._call("POST", "scenario", {"behaviors": behaviours})

    def reply(self, text: str) -> None:
        """Have this said next."""
        self.plan({"type": "reply", "text": text})

    def call_tool(self, name: str, **arguments: Any) -> None:
        """Have this tool called next."""
        self.plan({"type": "reply", "tool_calls": [{"name": name, "arguments": arguments}]})

    def pause(self, *, after: int, seconds: float) -> None:
        """Have the next answer pause after so many chunks; the first has no text."""
        self.plan({"type": "stream_fault", "kind": "stall", "after_chunks": after, "stall_seconds": seconds})

    def truncate(self, *, after: int) -> None:
        """Have the next answer end after so many chunks, without a finish reason."""
        self.plan({"type": "stream_fault", "kind": "truncate", "after_chunks": after})

    def fail(self, status: int, *, times: int | None = 1, **more: Any) -> None:
        """Have the next requests refused with this status; all of them, if `times` is None."""
        self.plan({"type": "fail", "status": status, "times": times, **more})

    def requests(self) -> list[dict[str, Any]]:
        """Every request since the last reset and how it went; waits 2 s for those that have not ended."""
        requests: list[dict[str, Any]] = self._call("GET", "requests")["requests"]
        return requests

    def findings(self) -> set[str]:
        """What llmock has to find fault with in us as a client."""
        return {finding["code"] for finding in self._call("GET", "verdict")["findings"]}

    def reset(self) -> None:
        """Forget requests and plans."""
        self._call("POST", "reset", {})

    def __enter__(self) -> IndependentProvider:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.root}/_llmock/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
