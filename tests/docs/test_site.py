"""The site of the documentation: pages have their places, links and anchors hold, nothing comes from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.documents import commands
from tests.support.paths import ROOT

# Made by docs/site_pages.py.
GENERATED = {"index.md", "contributing.md", "changelog.md", "templates.md", "gpu.md", "commands.md", "modules.md"}


def leaves(nav: Any) -> list[str]:
    """Return the pages of the navigation."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in leaves(part)]


def test_every_page_has_one_place_in_the_navigation() -> None:
    """Prevents pages that nobody finds, and entries without a page."""
    placed = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} | GENERATED
    missing = sorted(pages - set(placed))
    assert missing == [], f"add {', '.join(missing)} to `nav` in mkdocs.yml"
    assert sorted(set(placed) - pages) == [], "`nav` in mkdocs.yml names pages that do not exist"
    assert len(placed) == len(set(placed))


@pytest.mark.parametrize("name", ["first-run.md", "own-model.md", "scaling.md"])
def test_the_guides_name_commands(name: str) -> None:
    """Prevents guides whose commands the other tests overlook: these check options and paths of what is found here."""
    assert list(commands(ROOT / "docs" / name))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, warnings being errors: dead links and anchors, pages without a place."""
    pytest.importorskip("mkdocs", reason="`make docs` installs MkDocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """Prevents fonts, scripts and counters of other sites in the reader's browser."""
    loaded = re.compile(r"<(?:script|img|iframe)[^>]*\bsrc=\"?(?:https?:)?//|<link[^>]*\bhref=\"?(?:https?:)?//")
    assert [page.name for page in site.glob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_the_reference_is_made_from_the_code(site: Path) -> None:
    """Prevents a reference without commands, options or modules."""
    page = (site / "commands.html").read_text(encoding="utf-8")
    assert "cyclealign prompts import" in page
    assert "--hold-out-labelled" in page
    assert "longest_common_subsequence" in (site / "modules.html").read_text(encoding="utf-8")


def test_links_between_documents_lead_to_pages(site: Path) -> None:
    """Prevents links of the README that hold in the repository and not on the site."""
    index = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="judging.html#after-a-kill"' in index
    assert 'href="templates.html"' in index
    assert 'href="docs/' not in index
