"""Read commands, settings, paths and links out of the Markdown documents."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

# Generated pages are checked against the settings themselves.
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "prompts/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith("configuration")
)
# The changelog names commands and settings of earlier releases.
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]

CODE = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PLACEHOLDER = re.compile(r"JOB|NAME|PACKAGE")
PLACE = re.compile(r"^(?:cyclealign|flows|tests|docs|benchmarks|prompts|migrations|constraints)/[\w./-]+$")


def code(text: str) -> Iterator[str]:
    """Yield the inline code spans and the lines of fenced blocks, without comments."""
    yield from (re.sub(r"\s+", " ", span) for span in CODE.findall(FENCED.sub("", text)))
    for block in FENCED.findall(text):
        yield from (line.partition(" #")[0].strip() for line in block.splitlines())


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the arguments of every ``cyclealign`` command in a document."""
    for line in code(path.read_text(encoding="utf-8")):
        if match := re.match(r"(?:\S+/)?cyclealign (.+)", line):
            yield shlex.split(match.group(1).replace("...", "").replace("[", "").replace("]", ""))


def paths(path: Path) -> Iterator[str]:
    """Yield the files and folders of this repository that a document names; those with a placeholder are left out."""
    for span in code(path.read_text(encoding="utf-8")):
        if PLACE.match(span) and not PLACEHOLDER.search(span):
            yield span


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
