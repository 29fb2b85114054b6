"""Dask's dashboard in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page


@contextmanager
def opened(browser: Browser, address: str, seconds: float = 20) -> Iterator[Page]:
    """The page at `address`, which must have nothing to complain of.

    seconds: in which what is waited for must come
    """
    complaints: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            complaints.append(said.text)

    def dismiss(dialog: Dialog) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    def catch(error: Error) -> None:
        complaints.append(str(error))

    page = browser.new_page()
    page.set_default_timeout(1000 * seconds)
    page.on("console", hear)
    page.on("dialog", dismiss)
    page.on("pageerror", catch)
    page.goto(address)
    yield page
    page.close()
    assert not complaints


def squares(page: Page) -> list[str]:
    """The palette, as the squares on our page name it."""
    found: list[str] = page.locator(".squares i").evaluate_all(
        "squares => squares.map(square => square.title)"
    )
    return found
