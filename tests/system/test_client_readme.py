"""The examples of the client's README, run as its readers would, from a client that was installed by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.provider import ROOT, ProviderProcess
from tests.readme import examples
from tests.server import ServerProcess

README = ROOT / "client" / "README.md"
SAID = {
    "ask.py": "It is 391. completed {'prompt': 40, 'completion': 2} None\n",
    "watch.py": "\ncalculator = 391\nIt is 391.",
    "loop.py": "It is 391.",
    "listen.py": "calculator 391\n",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client and nothing else of ours."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for part in ("pyproject.toml", "README.md", "verbatim_client"):
        subprocess.run(["cp", "-r", ROOT / "client" / part, source], check=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", source], check=True, cwd=folder
    )
    return folder / "site"


@pytest.mark.parametrize("kind", ["uvicorn"], indirect=True)
@pytest.mark.parametrize("name", SAID)
def test_the_examples_do_what_they_say(
    installed: Path, server: ServerProcess, key: str, provider: ProviderProcess, name: str
) -> None:
    call = {"index": 0, "id": "a", "name": "calculator", "arguments": '{"expression": "17 * 23"}'}
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    provider.script([[{"tool": call}, {"usage": usage}], [{"text": "It is 391."}, {"usage": usage}]])
    program = f"URL, KEY = {server.url!r}, {key!r}\n" + examples(README)[name]

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=installed, env={"PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == (SAID[name], "")


def test_every_example_is_tried() -> None:
    assert set(examples(README)) == {*SAID, "logs.py"}  # tests/verbatim_client/test_completion_logs.py has that


def test_it_is_installed_with_its_types_and_its_command(installed: Path) -> None:
    assert (installed / "verbatim_client" / "py.typed").exists()
    assert (installed / "bin" / "verbatim").exists()
