"""Hooks of the site (`make docs`): pages that are not in docs/, links out of docs/, and anchors as on GitHub."""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))  # MkDocs loads hooks by path

import make_reference  # noqa: E402

# Documents outside docs/ and their pages.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "prompts/README.md": "templates.md",
    "benchmarks/gpu.md": "gpu.md",
}
SOURCES = {page: document for document, page in OUTSIDE.items()}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Form the anchors of headings as GitHub does, so that one link serves the site and the repository."""
    config.mdx_configs["toc"]["slugify"] = slug
    return config


def slug(heading: str, separator: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", separator)


def on_files(files: Files, config: Any) -> Files:
    """Add the documents outside docs/ and the reference generated from the code."""
    for document, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / document).read_text(encoding="utf-8")))
    for page, text in make_reference.pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links between documents of the repository to their pages."""
    folder = posixpath.dirname(SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    return LINK.sub(lambda link: relinked(link, folder), markdown)


def relinked(link: re.Match[str], folder: str) -> str:
    """Return a link with the address of its page; the text alone if it leads to a file that has no page."""
    words, target = link.groups()
    name, mark, anchor = target.partition("#")
    if not name or "://" in name:
        return link.group()
    path = posixpath.normpath(posixpath.join(folder, name))
    if path in OUTSIDE:
        return f"[{words}]({OUTSIDE[path]}{mark}{anchor})"
    if path.startswith("docs/"):
        return f"[{words}]({path.removeprefix('docs/')}{mark}{anchor})"
    return words if (ROOT / path).exists() else link.group()
