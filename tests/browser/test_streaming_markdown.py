"""Markdown that arrives in pieces ends up as markdown that arrived whole, and is right on the way there."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from tests.browser.corpus import ATTACKS, DOCUMENTS

STREAM = """async ({ source, cuts, finish }) => {
    const { render } = await import("/verbatim/markdown.js");
    const { MarkdownStream } = await import("/verbatim/stream.js");
    const streamed = document.createElement("div");
    const stream = new MarkdownStream(streamed);
    const ends = [...cuts, source.length];
    ends.forEach((end, index) => stream.write(source.slice(ends[index - 1] ?? 0, end)));
    if (finish) stream.end(source);
    const whole = document.createElement("div");
    whole.append(render(source));
    return [streamed.innerHTML, whole.innerHTML, streamed.textContent, whole.textContent];
}"""

SOURCES = st.one_of(
    st.sampled_from(DOCUMENTS + ATTACKS),
    st.lists(
        st.sampled_from(
            ["a ", "**", "*", "`", "```\n", "\n", "\n\n", "- ", "1. ", "| x ", "|\n", "---", "[l](", "# ", "> "]
        )
    ).map("".join),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wherever_the_pieces_are_cut_the_end_is_the_same(page: Page, data: st.DataObject) -> None:
    source = data.draw(SOURCES)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(source)), max_size=12)))

    streamed, whole, _, _ = page.evaluate(STREAM, {"source": source, "cuts": cuts, "finish": True})

    assert streamed == whole


@pytest.mark.parametrize("document", [text for text in DOCUMENTS if not text.startswith("Unfinished")])
def test_once_everything_has_come_the_text_is_all_there_before_the_last_rendering(page: Page, document: str) -> None:
    source = document.rstrip() + "\n\n"

    _, _, streamed, whole = page.evaluate(STREAM, {"source": source, "cuts": list(range(len(source))), "finish": False})

    assert "".join(streamed.split()) == "".join(whole.split())


SHOWN = """async (source) => {
    const { MarkdownStream } = await import("/verbatim/stream.js");
    const box = document.createElement("div");
    new MarkdownStream(box).write(source);
    for (const extra of box.querySelectorAll(".code-head")) extra.remove();
    return box.innerHTML.replace(/<div class="tail">|<\\/div>$/g, "");
}"""


@pytest.mark.parametrize(
    ("arrived", "shown"),
    [
        ("a **bol", "<p>a <strong>bol</strong></p>"),
        ("a *ital", "<p>a <em>ital</em></p>"),
        ("a `cod", "<p>a <code>cod</code></p>"),
        ("a **", "<p>a</p>"),
        ("a [lin", "<p>a lin</p>"),
        ("a [link](https://exa", "<p>a link</p>"),
        ("a ![image](https://exa", "<p>a image</p>"),
        ("Items:\n-", "<p>Items:</p>"),
        ("Items:\n\n1", "<p>Items:</p>"),
        ("text\n\n``", "<p>text</p>"),
        ("text\n\n| a | b |\n|--", "<p>text</p>"),
        ("2 * 3 and snake_case", "<p>2 * 3 and snake_case</p>"),
    ],
)
def test_half_a_mark_is_shown_as_what_it_will_be(page: Page, arrived: str, shown: str) -> None:
    html = page.evaluate(SHOWN, arrived)

    assert html.replace("\n", "") == shown


def test_a_block_that_is_finished_is_never_touched_again(page: Page) -> None:
    kept = page.evaluate("""async () => {
        const { MarkdownStream } = await import("/verbatim/stream.js");
        const box = document.createElement("div");
        const stream = new MarkdownStream(box);
        stream.write("First *paragraph*.\\n\\n```py\\nx = 1\\n```\\n\\nThird");
        const [first, second] = box.children;
        const inner = first.querySelector("em").firstChild;
        for (const word of " and more.\\n\\n- a list\\n- of **things**".split(" ")) stream.write(` ${word}`);
        stream.end("First *paragraph*.\\n\\n```py\\nx = 1\\n```\\n\\nThird and more.\\n\\n- a list\\n- of **things**");
        return box.children[0] === first && box.children[1] === second && first.contains(inner);
    }""")

    assert kept


WORK = """async ([block, blocks]) => {
    const { marked } = await import("/verbatim/markdown.js");
    const { MarkdownStream } = await import("/verbatim/stream.js");
    const { lexer } = marked;
    let read = 0;
    marked.lexer = (source) => {
        read += source.length;
        return lexer.call(marked, source);
    };
    const stream = new MarkdownStream(document.createElement("div"));
    for (let i = 0; i < blocks; i += 1) for (const word of block.split(/(?<= )/)) stream.write(word);
    marked.lexer = lexer;
    return read;
}"""


@pytest.mark.parametrize(
    "block",
    ["Some words of a paragraph that is as long as they are.\n\n```\ncode\ncode\n```\n\n", "- an item of a list\n"],
)
def test_the_work_grows_with_the_text_and_not_with_its_square(page: Page, block: str) -> None:
    short, long = page.evaluate(WORK, [block, 10]), page.evaluate(WORK, [block, 100])

    assert long < 12 * short


def test_an_open_code_block_is_not_parsed_again_as_it_grows(page: Page) -> None:
    read = page.evaluate("""async () => {
        const { marked } = await import("/verbatim/markdown.js");
        const { MarkdownStream } = await import("/verbatim/stream.js");
        const { lexer } = marked;
        let read = 0;
        marked.lexer = (source) => {
            read += source.length;
            return lexer.call(marked, source);
        };
        const stream = new MarkdownStream(document.createElement("div"));
        stream.write("```py\\n");
        for (let i = 0; i < 1000; i += 1) stream.write("x = 1\\n");
        marked.lexer = lexer;
        return read;
    }""")

    assert read < 100
