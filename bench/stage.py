"""What every measurement stands on: a scripted provider, and sites with one user, made from one template."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.environment import cleaned
from bench.measure import LOAD_CORE, SERVER_CORE, on_core
from bench.provider.process import ProviderProcess
from bench.servers import Kind, ServerProcess, Site

RATE = 50
"""Words a second of each stream."""
ENDLESS = 1_000_000
UNLIMITED: Mapping[str, Any] = {"MAX_TURNS_PER_USER": 100_000}
"""What must not stand in the way of one user with hundreds of turns."""


class Plan(NamedTuple):
    """How much is measured: streams, the seconds of one window, how often all is repeated; parts of cases' names."""

    streams: int
    seconds: float
    runs: int
    cases: Sequence[str]

    def wants(self, name: str) -> bool:
        """Whether the case of this name is to be run."""
        return not self.cases or any(part in name for part in self.cases)


class Stage:
    """The provider, and where sites and servers come from."""

    def __init__(self, folder: Path, *, provider: ProviderProcess) -> None:
        self.provider = provider
        self._folder = folder
        self._numbers = count(1)
        self._site = Site(folder, provider_url=provider.base_url)
        self.key = self._site.key_for("bench")

    @property
    def headers(self) -> dict[str, str]:
        """Those of the site's one user."""
        return {"Authorization": f"Bearer {self.key}"}

    def site(self) -> Site:
        """A site with an empty database of its own, and the one user."""
        file = shutil.copy(self._folder / "site.sqlite3", self._folder / f"site-{next(self._numbers)}.sqlite3")
        return self._site.at(f"sqlite:///{file}")

    @contextmanager
    def verbatim(self, kind: Kind, *, site: Site | None = None) -> Iterator[ServerProcess]:
        """The product, serving, alone on its core."""
        with on_core(SERVER_CORE):
            server = (site or self.site()).start(kind, chat=UNLIMITED)
        with server:
            yield server

    @contextmanager
    def application(self, path: str, **variables: str) -> Iterator[ServerProcess]:
        """Any other ASGI application on uvicorn, alone on its core."""
        environment = {**cleaned(os.environ), "OPENAI_BASE_URL": self.provider.base_url, **variables}
        with on_core(SERVER_CORE):
            server = ServerProcess("uvicorn", env=environment, application=path)
        with server:
            yield server

    def speak(self, words: int = ENDLESS) -> None:
        """Have the provider answer everything with so many words, each with its time."""
        self.provider.reset()
        self.provider.script([{"words": words, "rate": RATE, "stamped": True}])


@contextmanager
def stage() -> Iterator[Stage]:
    """For as long as the block lasts. This process and the provider share the other core."""
    with TemporaryDirectory(prefix="verbatim-bench-") as folder, on_core(LOAD_CORE), ProviderProcess() as provider:
        yield Stage(Path(folder), provider=provider)
