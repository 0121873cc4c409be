"""Debian's Chromium, without a window, for the page of the service."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: The program, None where it is not installed.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def open_page(address: str, width: int = 1100, height: int = 900) -> Iterator[tuple["Page", list[str]]]:
    """Open an address; yield the page of Playwright, and the addresses of everything that it asks for."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page, asked
        browser.close()
