"""Pages as tests read them: parsed, and in a browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page, Request


class Reader(HTMLParser):
    """What a browser would make of a page: tags with attributes, texts, scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])

    @property
    def sections(self) -> list[str]:
        return [str(at["id"]) for tag, at in self.tags if tag == "section" and "id" in at]

    @property
    def pictures(self) -> list[str]:
        return [str(at["src"]) for tag, at in self.tags if tag == "img"]


def show(browser: Browser, html: str, folder: Path, **options: Any) -> tuple[Page, list[str]]:
    """The page once it is drawn, and a list that gets whatever it should not do."""
    (folder / "report.html").write_text(html, encoding="utf-8")
    page, wrong = browser.new_page(**options), []

    def hear(said: ConsoleMessage) -> None:
        if said.type == "error":
            wrong.append(said.text)

    def see(request: Request) -> None:
        if not request.url.startswith(("file:", "data:")):
            wrong.append(request.url)

    def dismiss(dialog: Dialog) -> None:
        wrong.append(dialog.message)
        dialog.dismiss()

    def catch(error: Error) -> None:
        wrong.append(str(error))

    page.on("console", hear)
    page.on("request", see)
    page.on("dialog", dismiss)
    page.on("pageerror", catch)
    page.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))"
    )
    page.goto((folder / "report.html").as_uri())
    page.locator("html[data-drawn=yes]").wait_for(state="attached", timeout=600_000)
    return page, wrong
