"""A profile's samples go to whom they belong."""

from __future__ import annotations

from bench.shares import shares


def test_a_sample_counts_for_the_innermost_file_that_is_known() -> None:
    lines = [
        "run (uvicorn/main.py:632);_view (chat/consumer.py:94);send (uvicorn/protocols/x.py:5) 3",
        "run (uvicorn/main.py:632);_speak (streaming/play.py:95);<lambda> (<string>:1) 2",
        "_bootstrap (threading.py:1002) 1",
    ]

    assert shares(lines) == {"uvicorn": 3, "streaming": 2, "other": 1}
