"""Nothing that a model says runs, or fetches anything from elsewhere: not in the end, and not while it streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, Request

from tests.browser.corpus import ATTACKS

ALLOWED = (
    "a b blockquote br button code del div em h3 h4 h5 h6 hr i li ol p pre s span strong svg table tbody td th thead "
    "tr ul use"
)
RENDERED = """async ({ source, how, step, allowed }) => {
    const { render } = await import("/verbatim/markdown.js");
    const { MarkdownStream } = await import("/verbatim/stream.js");
    const box = document.body.appendChild(document.createElement("div"));
    const faults = [];
    const known = new Set(allowed.split(" "));
    const check = (element) => {
        const { localName, href, rel, target } = element;
        if (!known.has(localName)) faults.push(`element ${localName}`);
        faults.push(...element.getAttributeNames().filter((name) => /^on|^style$|^src|^ping$|^id$|^name$/.test(name)));
        if (!element.hasAttribute("href") || localName === "use") return;
        if (localName !== "a" || !/^(https?:\\/\\/|mailto:)/.test(href)) faults.push(`leads to ${href}`);
        if (rel !== "noopener noreferrer" || target !== "_blank") faults.push("an open door");
    };
    const checkAll = () => box.querySelectorAll("*").forEach(check);
    if (how === "whole") box.append(render(source));
    else {
        const stream = new MarkdownStream(box);
        for (let i = 0; i < source.length; i += step) {
            stream.write(source.slice(i, i + step));
            checkAll();
        }
        stream.end(source);
    }
    checkAll();
    for (const element of box.querySelectorAll("*")) {
        for (const kind of ["mouseover", "focus", "toggle", "load", "error"]) element.dispatchEvent(new Event(kind));
    }
    await new Promise((resolve) => setTimeout(resolve));
    box.remove();
    return { faults, hacked: window.hacked ?? null };
}"""


@pytest.fixture
def watched(context: BrowserContext, static_site: str) -> Iterator[tuple[Page, list[str]]]:
    """A page without any policy that could help, and what it did beyond its own site."""
    page = context.new_page()
    deeds: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        deeds.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def note(request: Request) -> None:
        if not request.url.startswith(static_site):
            deeds.append(request.url)

    page.on("dialog", dismiss)
    page.on("request", note)
    page.on("popup", lambda popup: deeds.append(f"popup {popup.url}"))
    page.goto(static_site)
    yield page, deeds
    page.close()


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_no_attack_runs_or_fetches_anything(watched: tuple[Page, list[str]], static_site: str, how: str) -> None:
    page, deeds = watched

    verdicts = {}
    for source in ATTACKS:
        order = {"source": source, "how": how, "step": 1 if len(source) < 200 else 7, "allowed": ALLOWED}
        verdicts[source] = page.evaluate(RENDERED, order)

    assert {source: verdict for source, verdict in verdicts.items() if verdict["faults"] or verdict["hacked"]} == {}
    assert deeds == []
    assert page.url.rstrip("/") == static_site


def test_the_watch_would_notice_an_attack_that_succeeds(watched: tuple[Page, list[str]]) -> None:
    page, deeds = watched

    page.evaluate("""async () => {
        document.body.innerHTML = '<img src="http://evil.invalid/x.png" onerror="alert(1)">';
        await new Promise((resolve) => setTimeout(resolve, 0));
    }""")
    page.wait_for_function("document.images[0].complete")

    assert "http://evil.invalid/x.png" in deeds


TEXT = """async (source) => {
    const { render } = await import("/verbatim/markdown.js");
    const box = document.createElement("div");
    box.append(render(source));
    return box.textContent;
}"""


def test_raw_html_is_shown_as_the_text_it_is(page: Page) -> None:
    assert page.evaluate(TEXT, "a <b>bold</b> claim") == "a <b>bold</b> claim"
    assert "<div>" in page.evaluate(TEXT, "<div>\nblock\n</div>")


LINKS = """async (source) => {
    const { render } = await import("/verbatim/markdown.js");
    const box = document.createElement("div");
    box.append(render(source));
    return Array.from(box.querySelectorAll("a"), (link) => [link.textContent, link.getAttribute("href")]);
}"""


def test_an_image_becomes_a_link_with_its_description(page: Page) -> None:
    assert page.evaluate(LINKS, "![a chart](https://example.org/c.png)") == [["a chart", "https://example.org/c.png"]]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.org/", "https://example.org/"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("javascript:alert(1)", None),
        ("//example.org/", None),
        ("/admin/", None),
        ("data:text/html,x", None),
    ],
)
def test_links_lead_only_to_the_web_and_to_mail(page: Page, address: str, shown: str | None) -> None:
    assert page.evaluate(LINKS, f"[x]({address})") == [["x", shown]]


SOURCES = """async (url) => {
    const { toolCard } = await import("/verbatim/tool-card.js");
    const sources = [{ title: "t", url }];
    const result = { content: "<img src=x onerror=window.hacked=1>", isError: false, durationMs: 1, sources };
    const card = toolCard({ name: "<b>tool</b>", arguments: "{}", state: "done", result });
    const link = card.querySelector(".tool-sources a");
    return [card.querySelectorAll("img, b").length, link.textContent, link.getAttribute("href")];
}"""


@pytest.mark.parametrize(
    ("url", "href"), [("https://example.org/a", "https://example.org/a"), ("javascript:alert(1)", None)]
)
def test_a_tool_card_shows_text_and_safe_sources_only(page: Page, url: str, href: str | None) -> None:
    assert page.evaluate(SOURCES, url) == [0, "t", href]
