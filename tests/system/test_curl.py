"""Scripts in a shell: curl loses its connection in mid-sentence, and retries by itself or is told where to go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cable import Cable
from tests.curl import Curl, get, stored
from tests.lightspeed import start, text
from tests.provider import ProviderProcess, Script
from tests.server import ServerProcess
from tests.sse import Reader

RETRIES = ("--retry", "5", "--retry-all-errors", "--retry-delay", "1")
SLOW: Script = [{"open": True}, {"words": 40, "rate": 20}]
CUT_SHORT = {18, 56}
"""What curl exits with when an answer ends too early, or with a reset."""


@pytest.fixture
def cable(server: ServerProcess) -> Iterator[Cable]:
    with Cable(server.port) as cable:
        yield cable


def posts(cable: Cable) -> int:
    return cable.requests.count(b"POST ")


def test_curl_with_a_key_for_the_turn_retries_and_has_the_answer_once(
    cable: Cable, key: str, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.script(SLOW)
    file = tmp_path / "answer.txt"
    cable.cut_behind(b"w0012")

    options = ("-H", "Idempotency-Key: of-the-script", *RETRIES, "--output", str(file))
    with Curl(cable.url, *options, key=key, query="Go on.", media_type="text/plain") as curl:
        code, _ = curl.finish()

    [conversation] = get(f"{cable.url}/api/v1/conversations/", key=key)["results"]
    assert code == 0
    assert file.read_text() == stored(cable.url, conversation["id"], key=key)
    assert (posts(cable), len(provider.log())) == (2, 1)


def test_curl_that_is_told_where_it_was_goes_on_there(cable: Cable, key: str, provider: ProviderProcess) -> None:
    provider.script(SLOW)
    cable.cut_behind(b"w0012")

    with Curl(cable.url, key=key, query="Go on.") as curl:
        first, output = curl.finish()
    reader = Reader().feed(output).reconnected()
    with Curl(cable.url, "-H", f"Last-Event-ID: {reader.position}", key=key, query="Go on.") as curl:
        second, output = curl.finish()
    reader.feed(output)

    assert first in CUT_SHORT
    assert second == 0
    assert text(reader) == stored(cable.url, start(reader)["conversation_id"], key=key)
    assert (posts(cable), len(provider.log())) == (2, 1)
