"""The pages of `cyclealign browse` in a real browser: hostile texts, accessibility, keyboard, phone."""

import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from cyclealign.browse.access import LOCAL_NAMES, Access
from cyclealign.browse.app import make_app
from cyclealign.store import Store
from tests.browse.conftest import history  # noqa: F401 - a fixture
from tests.browse.test_pages import PAGES, ROUND
from tests.support.launched import free_port, until

pytestmark = [pytest.mark.launch, pytest.mark.parametrize("database", ["sqlite"], indirect=True)]

TOKEN = "a-token"
AXE = "axe-core@4"


@pytest.fixture
def site(history: Store) -> Iterator[str]:  # noqa: F811 - the fixture
    """Yield the address of the pages, served by a thread."""
    port = free_port()
    config = uvicorn.Config(make_app(history, Access(TOKEN, LOCAL_NAMES)), port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until("the pages are served", lambda: server.started)
    yield f"http://localhost:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the source of the accessibility checker, from npm; skip without it."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine, which has the accessibility checker axe-core")
    packed = subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, text=True, check=False)
    if packed.returncode:
        pytest.skip(f"npm cannot fetch {AXE}: {packed.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def with_prompt_page(page: Any, site: str) -> list[str]:
    """Open the pages with their token, and return the addresses of all kinds of pages."""
    page.goto(f"{site}/?token={TOKEN}")
    page.goto(f"{site}{ROUND}")
    prompt = page.locator("article h3 a").first.get_attribute("href")
    return [*PAGES, prompt, "/experiments/none"]


def test_hostile_texts_run_nothing_and_fetch_nothing(page: Any, site: str) -> None:
    """Prevents an answer of a model that acts in the reader's browser."""
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    for address in with_prompt_page(page, site):
        page.goto(f"{site}{address}")
        assert page.evaluate("document.title").endswith("· cyclealign")
    assert [url for url in requested if not url.startswith(f"{site}/")] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 390)])
def test_no_serious_barrier_for_assistive_technology(page: Any, site: str, axe: str, scheme: str, width: int) -> None:
    """Prevents pages that a screen reader, a keyboard or weak eyes cannot use, in either colour scheme."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for address in with_prompt_page(page, site):
        page.goto(f"{site}{address}")
        page.evaluate(axe)
        found = page.evaluate("axe.run()")["violations"]
        serious = [
            (one["id"], one["help"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], address


def test_a_phone_scrolls_tables_and_not_the_page(page: Any, site: str) -> None:
    """Prevents pages that are wider than a phone."""
    page.set_viewport_size({"width": 390, "height": 800})
    for address in with_prompt_page(page, site):
        page.goto(f"{site}{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 391, address


def test_the_keyboard_reaches_content_filter_and_next_page(page: Any, site: str) -> None:
    """Prevents a page that only a mouse can use."""
    with_prompt_page(page, site)
    page.goto(f"{site}{ROUND}?limit=2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.get_by_label("Text").focus()
    page.keyboard.type("bold")
    page.keyboard.press("Enter")
    page.get_by_text("Prompts 1 to 1 of 1.").wait_for()
