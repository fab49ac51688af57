"""A browser without a network, for the tests that look at a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = Path(os.environ.get("JACKPOT_SCREENSHOTS", "screenshots")).absolute()
"""Where the pages' pictures go."""


@contextmanager
def chromium(needs_system: Callable[[bool, str], None]) -> Iterator[Any]:
    """The browser."""
    needs_system(bool(shutil.which(CHROMIUM)), f"{CHROMIUM}: install Debian's package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path, width: int = 1280, scheme: str = "light", fragment: str = "") -> Iterator[Any]:
    """A page from the disk, its plots drawn. At its end: it has said nothing, asked for nothing but itself, and never
    scrolled sideways."""
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(60_000)
    page, said = context.new_page(), []
    # parallel coordinates are drawn with WebGL, which complains of its own speed where there is no GPU
    page.on("console", lambda message: None if "GL Driver" in message.text else said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if _itself(request.url, file) else said.append(request.url))
    page.goto(file.as_uri() + fragment)
    drawn(page)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page itself does not scroll"
    context.close()
    assert not said, said


def _itself(address: str, file: Path) -> bool:
    return address.split("#")[0] == file.as_uri() or address.startswith("blob:")


def drawn(page: Any) -> None:
    """Wait until every plot that is not folded away is drawn."""
    places = page.locator(".plot > script").count()
    page.wait_for_function(f"document.querySelectorAll('.plot .js-plotly-plot .main-svg').length >= {places}")


def shot(page: Any, name: str, whole: bool = True) -> None:
    """Keep a picture of the page, or of what is in sight."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=whole)


def barriers(page: Any) -> list[str]:
    """What axe-core finds on a page that is a serious or critical barrier to someone."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    assert found["passes"], "axe has looked at it"
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
