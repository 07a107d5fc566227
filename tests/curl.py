"""curl as a client: what a script in a shell does."""

from __future__ import annotations

import shutil
import subprocess
from types import TracebackType
from typing import Any

from msgspec import json

CURL = shutil.which("curl")
ADDRESS = "/api/v1/ai/streaming_chat/"


class Curl:
    """`curl` posting a question. It is waited for, or ended, with the `with` block."""

    def __init__(self, url: str, *options: str, key: str, query: str, **fields: str) -> None:
        assert CURL is not None, "CI_BROWSER=1 and there is no curl"
        headers = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json")
        self._process = subprocess.Popen(
            [CURL, "--no-buffer", "--silent", "--show-error", "--fail-with-body", *headers, *options,
             "--data-binary", json.encode({"query": query, **fields}).decode(), url + ADDRESS],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, timeout: float = 60) -> tuple[int, bytes]:
        """The exit code and the output, once it has ended."""
        output, _ = self._process.communicate(timeout=timeout)
        return self._process.returncode, output

    def __enter__(self) -> Curl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def get(address: str, *, key: str) -> Any:
    """What a GET answers, as JSON."""
    assert CURL is not None
    done = subprocess.run([CURL, "-sSf", "-H", f"X-API-Key: {key}", address], check=True, capture_output=True)
    return json.decode(done.stdout)


def stored(url: str, conversation: str, *, key: str) -> str:
    """The text of all messages of the model, as it is stored."""
    page = get(f"{url}/api/v1/conversations/{conversation}/events/?limit=500", key=key)
    return "".join(event["data"]["text"] for event in page["events"] if event["kind"] == "assistant_message")
