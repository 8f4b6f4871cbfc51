"""The page of `apx-monitor serve` in a real browser: Debian's Chromium, driven by Playwright."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from astropix_runtime.sockets.endpoints import directory_for_sockets
from tests.deadline import DEADLINE_S
from tests.system.laboratory import Laboratory
from tests.system.processes import wait_until
from tests.system.programs import Program

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


def serve(laboratory: Laboratory, *arguments: str | Path) -> tuple[Program, str]:
    """The program, and the address that it prints."""
    program = laboratory.start("apx-monitor", "serve", "--port", "0", "--alarms", "ipc://nobody", *arguments)
    return program, program.wait_for_output(r"the page is at (\S+)")[1]


class Page:
    """One tab. What goes wrong in its scripts is in `troubles`."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        tab.set_default_timeout(DEADLINE_S * 1000)
        self.troubles: list[str] = []
        tab.on("pageerror", lambda error: self.troubles.append(str(error)))
        tab.on("console", lambda said: said.type == "error" and self.troubles.append(said.text))

    def open(self, address: str) -> "Page":
        """Go there, and wait for figures with data in them."""
        self.tab.goto(address)
        self.wait_for("figures with data", lambda: self.ask("astropix.ready() && astropix.stream.updates > 1"))
        return self

    def ask(self, expression: str) -> Any:
        """Value of an expression in the page."""
        return json.loads(self.tab.evaluate(f"() => JSON.stringify(({expression}) ?? null)"))

    def wait_for(self, what: str, condition: Callable[[], Any]) -> Any:
        """Until that is so; the page goes on meanwhile."""

        def look() -> Any:
            self.tab.wait_for_timeout(50)
            return condition()

        return wait_until(what, look)

    def text(self, selector: str) -> str:
        """What stands there."""
        return str(self.tab.locator(selector).first.inner_text())

    def tile(self, name: str) -> str:
        """Value of a tile."""
        return self.text(f"#tiles [data-name='{name}'] .value")

    def column(self, source: str, name: str) -> Any:
        """A column as it is shown: flat, as a list."""
        return self.ask(f"Array.from(astropix.shown('{source}')?.['{name}'] ?? [])")

    def click_pixel(self, row: int, column: int) -> None:
        """Click on the middle of a pixel of the large map."""
        at = self.ask(f"astropix.figures.position('map', {column}, {row})")
        self.tab.mouse.click(at["x"], at["y"])

    def picture(self, path: Path) -> None:
        """A screenshot of all of it."""
        self.tab.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 20_000


@contextmanager
def chromium(*options: str) -> Iterator[Callable[..., Page]]:
    """Makes pages: `page(width, height, scheme)`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *options],
            env={**os.environ, "TMPDIR": str(directory_for_sockets())},
        )

        def page(width: int, height: int, scheme: str = "light", touch: bool = False) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, is_mobile=touch
            )
            return Page(context.new_page())

        try:
            yield page
        finally:
            browser.close()
