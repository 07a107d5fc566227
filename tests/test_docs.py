"""The documents say what is there: their settings, links, paths and tests exist, and their examples work."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from history import conf
from history.conf import ChatSettings
from llm.types import ToolCall
from tests import readme
from tests.provider import ROOT
from tools.loading import toolbox_from
from tools.tool import ToolContext

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "client" / "README.md"]
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def settings_table() -> str:
    """What README has to say about the settings."""
    [shape] = (
        node
        for node in ast.parse(inspect.getsource(conf)).body
        if isinstance(node, ast.ClassDef) and node.name == ChatSettings.__name__
    )
    texts = [node.value for node in shape.body[1:] if isinstance(node, ast.Expr)]
    told = [str(text.value) for text in texts if isinstance(text, ast.Constant)]
    defaults = ChatSettings()
    rows = [
        f"| `{item.name.upper()}` | `{default(getattr(defaults, item.name))}` | {sentence} |"
        for item, sentence in zip(fields(ChatSettings), told, strict=True)
    ]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows])


def default(value: Any) -> str:
    """As one would write it."""
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) else repr(value).replace("'", '"')


def words_of(path: Path) -> str:
    """A document without its examples of code, in which a # is no heading and a bracket no link."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Where a link into a document may lead."""
    headings = re.findall(r"^#+ (.+)$", words_of(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_has_every_setting_with_its_default_and_meaning() -> None:
    assert settings_table() in readme.README


def test_every_variable_that_readme_names_is_one() -> None:
    variables = re.findall(r"^#(\w+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    named = re.findall(r"^([A-Z_]{4,})=|`([A-Z_]{4,})`", readme.README, flags=re.MULTILINE)

    assert {*map("".join, named)} <= {*variables, *conf.KEYS, "CHAT", "PYTHONPATH"}


@documents
def test_every_link_leads_somewhere(document: Path) -> None:
    written = words_of(document)
    for target in (*re.findall(r"\]\(([^)]+)\)", written), *re.findall(r"(?:src|srcset)=\"([^\"]+)\"", written)):
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert "://" in target or file.exists(), target
        assert not anchor or "://" in target or anchor in anchors(file), target


@documents
def test_every_path_that_is_named_exists(document: Path) -> None:
    """Whatever looks like a path of ours, and what is named as a file with an ending that we use."""
    named = set(re.findall(r"`([\w./-]+/|[\w./-]+\.(?:py|js|md|toml|txt|html|css|example))`", words_of(document)))
    missing = {name for name in named if not name.startswith("/") and not any(ROOT.glob(f"**/{name.strip('/')}"))}

    assert missing == set()


async def test_the_example_of_a_tool_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tools.py").write_text(readme.example("my_tools.py"))
    monkeypatch.syspath_prepend(tmp_path)
    site: dict[str, Any] = {"CHAT": {}}
    exec(readme.example("config/settings.py"), site)
    with override_settings(CHAT=site["CHAT"]):
        toolbox = toolbox_from(conf.chat_settings().tools)
    call = ToolCall(id="c", name="roll_dice", arguments='{"sides": 1}')

    answer = await toolbox.run(call, context=ToolContext(principal="1", conversation="2", turn="3"), index=0)

    assert (answer.content, answer.is_error) == ("1", False)
    assert {"roll_dice", "calculator", "current_time"} == {spec.name for spec in toolbox.specs()}


@documents
def test_every_test_that_is_named_exists(document: Path) -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", words_of(document)):
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), flags=re.MULTILINE), f"{file}::{name}"


def test_every_promise_names_a_test_that_holds_it() -> None:
    promises = re.split(r"^(?:- (?=\*\*[RS]\d+\*\*)|#)", words_of(ROOT / "RELIABILITY.md"), flags=re.MULTILINE)
    held = {promise.split("**")[1]: "`tests/" in promise for promise in promises if re.match(r"\*\*[RS]\d", promise)}

    assert len(held) > 20
    assert [name for name, is_held in held.items() if not is_held] == []
