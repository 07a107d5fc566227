"""A scripted provider as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provider import ProviderProcess


@pytest.fixture
def provider() -> Iterator[ProviderProcess]:
    """A provider of the test's own."""
    with ProviderProcess() as process:
        yield process
