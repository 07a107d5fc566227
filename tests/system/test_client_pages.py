"""The pages about clients: each of their examples runs against a real server, and prints what the page says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import OpenAI

from tests.client import Client
from tests.curl import CURL
from tests.node import NODE, OPENAI_JS
from tests.pages import CLIENTS, examples
from tests.server import ServerProcess

ADDRESS = "http://127.0.0.1:8000"
KEY = "VERBATIM_API_KEY"
NEXT = "\x1e"
"""Between what two examples print."""


@pytest.fixture
def environment(client: Client) -> Mapping[str, str]:
    """What an example finds around it."""
    return {**os.environ, KEY: client.key}


def by_python(codes: list[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Here: to import the clients takes seconds. They may leave their connections to the garbage collector."""
    names: dict[str, Any] = {}
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, environment[KEY])
        for code in codes:
            with redirect_stdout(StringIO()) as output:
                exec(compile(code, "example", "exec"), names)
            printed.append(output.getvalue())
    return printed


def by_node(codes: list[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """One module, beside the package."""
    package = folder / "node_modules" / "openai"
    package.mkdir(parents=True)
    shutil.copy(OPENAI_JS, package / "index.mjs")
    (package / "package.json").write_text('{"name": "openai", "main": "index.mjs"}')
    (folder / "example.mjs").write_text(f"\nconsole.log({json.dumps(NEXT)});\n".join(codes))
    return output_of([NODE, "example.mjs"], folder, environment).split(f"{NEXT}\n")


def by_shell(codes: list[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Each in a shell of its own."""
    return [output_of(["bash", "-euo", "pipefail", "-c", code], folder, environment) for code in codes]


def output_of(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


PAGES: dict[str, Callable[[list[str], Path, Mapping[str, str]], list[str]]] = {
    "openai-python": by_python,
    "langchain": by_python,
    "openai-javascript": by_node,
    **({"curl": by_shell} if CURL or os.environ.get("CI_BROWSER") == "1" else {}),
}


@pytest.mark.parametrize("page", PAGES)
def test_every_example_prints_what_its_page_says(
    page: str, server: ServerProcess, environment: Mapping[str, str], tmp_path: Path
) -> None:
    told = examples(CLIENTS / f"{page}.md")

    printed = PAGES[page]([example.code.replace(ADDRESS, server.url) for example in told], tmp_path, environment)

    assert len(told) > 2
    for example, output in zip(told, printed, strict=True):
        assert example.is_output(output), f"{example.code}\nprinted\n{output}\nand not\n{example.output}"


def test_every_page_is_tried_and_named_in_the_readme() -> None:
    pages = {page.stem for page in CLIENTS.glob("*.md")}

    readme = (CLIENTS.parents[1] / "README.md").read_text()
    assert pages == {*PAGES, "curl", "editors"}
    assert [page for page in pages if f"(docs/clients/{page}.md)" not in readme] == []


def of_continue(told: str) -> tuple[str, str]:
    """Address and model, where Continue looks for them."""
    [model] = yaml.safe_load(told)["models"]
    assert (model["provider"], model["apiKey"]) == ("openai", f"${{{{ secrets.{KEY} }}}}")
    return model["apiBase"], model["model"]


def of_zed(told: str) -> tuple[str, str]:
    """The same for Zed, which makes the variable's name from the provider's."""
    [(name, provider)] = json.loads(told)["language_models"]["openai_compatible"].items()
    assert f"{name.upper()}_API_KEY" == KEY
    return provider["api_url"], provider["available_models"][0]["name"]


EDITORS = {"yaml": of_continue, "json": of_zed}


CLOCK = {"type": "function", "function": {"name": "current_time", "parameters": {"type": "object", "properties": {}}}}
"""A tool as an editor brings it."""


@pytest.mark.parametrize("language", EDITORS)
def test_what_an_editor_is_told_is_enough_to_ask(language: str, client: Client) -> None:
    [told] = [example.code for example in examples(CLIENTS / "editors.md") if example.language == language]

    address, model = EDITORS[language](told)
    with OpenAI(base_url=address.replace(ADDRESS, client.url), api_key=client.key, max_retries=0) as sdk:
        asked: Any = {"messages": [{"role": "user", "content": "What time is it?"}], "tools": [CLOCK]}
        chunks = list(sdk.chat.completions.create(model=model, stream=True, **asked))

    called = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [call.function.name for call in called if call.function] == ["current_time"]
