"""Structs that threads read at the same time are learned before that."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm import shapes

ROOT = Path(__file__).parents[2]
ROOMS = ("chat", "gateway", "web", "streaming", "access", "history", "tools", "llm")
READ = {"convert", "decode"}
"""The functions of msgspec that read a struct whose type they are given."""

READS_AT_ONCE = """
import sys, threading
from history.events import DATA
import msgspec
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)
data = {"text": "", "hop": 0, "usage": {"prompt": 1}, "tool_calls": [{"id": "a", "name": "b", "arguments": ""}]}
def read(shape):
    together.wait()
    try: msgspec.convert(data, shape)
    except msgspec.ValidationError: pass
for shape in DATA.values():
    threads = [threading.Thread(target=read, args=[shape]) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print("alive")
"""


def types_read(file: Path) -> Iterator[str]:
    """What is read in a module: the second argument, as it is written."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READ:
            given = [*node.args[1:], *(each.value for each in node.keywords if each.arg == "type")]
            yield from (ast.unparse(each) for each in given)


def read_by(room: str) -> Iterator[tuple[str, Any]]:
    for file in sorted((ROOT / room).rglob("*.py")):
        names = set(types_read(file))
        if names:
            module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
            for name in names:
                try:
                    yield f"{file.name}: {name}", eval(name, vars(module))
                except NameError:  # a variable: one of those that are named elsewhere
                    continue


@pytest.mark.parametrize("room", ROOMS)
def test_every_struct_that_is_read_at_run_time_is_ready(room: str) -> None:
    found = {where: shape for where, shape in read_by(room) if hasattr(shape, "__struct_fields__")}

    assert [where for where, shape in found.items() if shape not in shapes.READY] == []
    assert found or room in ("chat", "web", "access", "tools")


def test_four_threads_may_read_an_event_for_the_first_time_at_the_same_instant() -> None:
    done = subprocess.run([sys.executable, "-c", READS_AT_ONCE], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
