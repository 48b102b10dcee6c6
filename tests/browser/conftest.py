"""A page in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.pages import CHROMIUM, QUIET


@pytest.fixture
def page() -> Iterator[Any]:
    """Yield a new page; skip without a Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install the package `chromium`, or name the program in CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()
