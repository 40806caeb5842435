"""A person at the 3D editor: a real page in headless Chromium with software WebGL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labeling.serve.pages import DIST

CHROMIUM = Path("/usr/bin/chromium")
SOURCES = DIST.parent / "src"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
]  # fmt: skip
WAIT_MS = 120_000
_CALM_LOOKS = 5  # Label Studio mounts the editor anew some time after it opened


def require() -> Any:
    """Return playwright, or skip with what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip("no browser: apt-get install chromium")
    page = DIST / "index.html"
    if not page.exists():
        pytest.skip("the 3D editor is not built: make editor")
    if page.stat().st_mtime < max(path.stat().st_mtime for path in SOURCES.rglob("*.ts")):
        pytest.fail("the 3D editor that is built is older than its source: make editor")
    return playwright


@contextmanager
def browsing(width: int = 1500, height: int = 950) -> Iterator[Any]:
    """Give a fresh page."""
    with require().sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(WAIT_MS)
        try:
            yield page
        finally:
            browser.close()


class EditorPage:
    """The editor in a frame of a page; what it does, a person could do.

    Args:
        page: the page of the browser.
        inside: whether the editor is in an iframe of a task of Label Studio.
    """

    def __init__(self, page: Any, *, inside: bool) -> None:
        self.page = page
        self._inside = inside

    @property
    def frame(self) -> Any:
        """The frame that is mounted now: Label Studio mounts it twice."""
        if not self._inside:
            return self.page.main_frame
        found = [f for f in self.page.frames if "/editor/" in f.url and not f.is_detached()]
        return found[-1] if found else None

    def ready(self) -> None:
        """Wait until the points are on the screen, and the page no longer mounts things anew."""
        deadline = time.monotonic() + WAIT_MS / 1000
        calm, before = 0, None
        while calm < (_CALM_LOOKS if self._inside else 1):
            assert time.monotonic() < deadline, "the editor did not open"
            self.page.wait_for_timeout(400)  # events of the page arrive while it waits
            frame = self.frame
            try:
                opened = frame and frame.evaluate("() => 'starloopEditor' in window")
            except Exception:  # it went away under the question
                opened = False
            calm = calm + 1 if opened and frame == before else 0
            before = frame
        self.idle()

    def idle(self) -> None:
        """Wait until the picture is up to date."""
        self.frame.evaluate("() => window.starloopEditor.idle()")

    def state(self) -> dict[str, Any]:
        """Return what is on the screen."""
        return self.frame.evaluate("() => window.starloopEditor.state()")

    def box(self, track_id: str) -> dict[str, Any]:
        """Return one box of the frame shown."""
        return next(box for box in self.state()["boxes"] if box["track_id"] == track_id)

    def place(self, what: str, *arguments: Any) -> tuple[float, float]:
        """Return where `project` or `handle` says that something is, in pixels of the page.

        Asked when the picture is up to date: the next one may show it elsewhere.
        """
        self.idle()
        listed = ", ".join(map(_js, arguments))
        point = self.frame.evaluate(f"() => window.starloopEditor.{what}({listed})")
        assert point is not None, (what, arguments)
        return self._to_page(point["x"], point["y"])

    def _to_page(self, x: float, y: float) -> tuple[float, float]:
        if not self._inside:
            return x, y
        rect = self.frame.frame_element().bounding_box()
        return rect["x"] + x, rect["y"] + y

    def press(self, key: str) -> None:
        """Press a key in the editor."""
        self.frame.locator("body").press(key)

    def click(self, point: tuple[float, float], **more: Any) -> None:
        """Click somewhere on the page."""
        self.page.mouse.click(*point, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move in steps, release."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        for part in (0.3, 0.7, 1.0):
            x = start[0] + part * (end[0] - start[0])
            y = start[1] + part * (end[1] - start[1])
            self.page.mouse.move(x, y)
        self.page.mouse.up()


def log_in(page: Any, address: str, email: str, password: str) -> None:
    """Log in to Label Studio."""
    page.goto(f"{address}/user/login/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "login" not in url)


def _js(value: Any) -> str:
    import json

    return json.dumps(value)
