"""A real browser for the tests of pages: what it asked for, what it complained of, what a reader can see.

The browser is the system's own: any of `NAMES` on PATH, or an installed Google Chrome. Nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Error, Page, ViewportSize, sync_playwright

from tests.conftest import NO_BROWSER

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: A wide screen and a small phone, in CSS pixels.
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
PATIENCE_MS = 300_000.0


@contextmanager
def opened() -> Iterator[Browser]:
    """Start a browser, or skip the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            chromium = (
                playwright.chromium.launch(executable_path=found, timeout=PATIENCE_MS)
                if found
                else playwright.chromium.launch(channel="chrome", timeout=PATIENCE_MS)
            )
        except Error:
            if found:
                raise
            pytest.skip(f"{NO_BROWSER}: install chromium (Debian: apt-get install chromium) or Google Chrome")
        yield chromium
        chromium.close()


class Watched:
    """A page, with all it asked for and all it complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        # A busy machine is no failure.
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)

    def wider_than_the_screen(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


#: The ratio of WCAG 2.2 between the colour of a text and what is behind it, for every text of the page.
CONTRAST = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const channels = (color, under) => {
    context.fillStyle = under; context.fillRect(0, 0, 1, 1);
    context.fillStyle = color; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((c) => c / 255);
  };
  const luminance = (rgb) => rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const clear = (color) => color === "rgba(0, 0, 0, 0)";
  const found = [];
  for (const element of document.querySelectorAll("body *:not(script, style, option, noscript)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.tagName === "title") continue;
    const ground = (node) => getComputedStyle(node).backgroundColor;
    let behind = element;
    while (behind.parentElement && clear(ground(behind))) behind = behind.parentElement;
    const style = getComputedStyle(element);
    const paper = ground(behind);
    const color = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [text, under] = [channels(color, paper), channels(paper, "white")].map(luminance);
    const ratio = (Math.max(text, under) + 0.05) / (Math.min(text, under) + 0.05);
    found.push([ratio, element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""
