"""The toolbox that the settings describe."""

import pytest

from tools.errors import ToolLoadError
from tools.loading import toolbox_from


def test_tools_are_found_by_their_dotted_paths() -> None:
    box = toolbox_from(["tools.builtin.current_time", "tools.builtin.calculator"])

    assert [spec.name for spec in box.specs()] == ["current_time", "calculator"]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("tools.builtin.nothing", "There is no tool at 'tools.builtin.nothing'"),
        ("nowhere.at.all", "There is no tool at 'nowhere.at.all': No module named 'nowhere'"),
        ("calculator", "There is no tool at 'calculator'"),
        ("tools.arithmetic.evaluate", "lacks the @tool decorator"),
    ],
)
def test_a_path_that_leads_to_no_tool_is_named(path: str, complaint: str) -> None:
    with pytest.raises(ToolLoadError, match=complaint):
        toolbox_from([path])


def test_a_tool_listed_twice_is_named() -> None:
    with pytest.raises(ToolLoadError, match="Two tools are called calculator"):
        toolbox_from(["tools.builtin.calculator"] * 2)
