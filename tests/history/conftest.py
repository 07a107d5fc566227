"""What several tests of the log listen to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from history import committed
from history.committed import Committed


@pytest.fixture
def told() -> Iterator[list[Committed]]:
    """What a listener has heard, in order."""
    heard: list[Committed] = []
    committed.listeners.append(heard.append)
    yield heard
    committed.listeners.remove(heard.append)
