"""The documents name only commands, settings, files and headings that exist."""

import re
from collections.abc import Iterator

import pytest
import typer
from pydantic import BaseModel

from cyclealign.cli.lazy import load
from cyclealign.cli.main import app
from cyclealign.config import ExperimentConfig
from cyclealign.config.former_names import models_of
from cyclealign.distill.registry import JOBS
from tests.docs.documents import CURRENT, DOCUMENTS, LINK, anchors, code, commands, paths
from tests.support.paths import ROOT

each_current = pytest.mark.parametrize("document", CURRENT, ids=lambda path: path.name)
MAIN = typer.main.get_command(app)


@each_current
def test_every_command_exists_with_its_options(document):
    """Prevents instructions that end in "No such command" or "No such option"."""
    for arguments in commands(document):
        command, words = MAIN, list(arguments)
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            assert words[0] in command.commands or words[0].isupper(), f"cyclealign {' '.join(arguments)}"
            command = load(words.pop(0)) if command is MAIN else command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= known, f"cyclealign {' '.join(arguments)}"


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yield every section of the settings with its keys."""
    for name, field in model.model_fields.items():
        for section in models_of(field.annotation):
            yield name, set(section.model_fields)
            yield from sections(section, name)


def keys_by_section() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for model in (ExperimentConfig, *(spec.config_model() for spec in JOBS.values())):
        for section, keys in sections(model):
            found.setdefault(section, set()).update(keys)
    return found


@each_current
def test_every_setting_exists(document):
    """Prevents advice to set a key that is refused as unknown."""
    known = keys_by_section()
    for span in code(document.read_text(encoding="utf-8")):
        match = re.match(r"([a-z]+)\.([a-z_]+)(?: = .*|=.*)?$", span)
        if match and match.group(1) in known and match.group(2) not in {"toml", "db", "py", "json", "jsonl", "md"}:
            assert match.group(2) in known[match.group(1)], span


@each_current
def test_every_path_exists(document):
    """Prevents pointers to files that have moved."""
    missing = [path for path in paths(document) if not (ROOT / path).exists()]
    assert missing == []


@each_current
def test_every_benchmark_and_make_target_exists(document):
    """Prevents figures whose command cannot be repeated."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for span in code(document.read_text(encoding="utf-8")):
        for name in re.findall(r"python -m benchmarks\.([a-z_]+)", span):
            assert (ROOT / "benchmarks" / f"{name}.py").is_file(), span
        if words := re.fullmatch(r"make((?: [a-z-]+)+)", span):
            assert set(words.group(1).split()) <= targets, span


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document):
    """Prevents dead links between the documents."""
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_class_of_the_glossary_exists():
    """Prevents a glossary of names that the code no longer has."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "cyclealign").rglob("*.py"))
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    names = {name for span in code(glossary) for name in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", span)}
    missing = {name for name in names if not re.search(rf"^(?:class )?{name}\b(?: =|[:(])", source, re.MULTILINE)}
    assert names
    assert missing == set()


def test_every_module_of_the_glossary_exists():
    """Prevents pointers from a term to a file that has moved."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    files = [span for span in code(glossary) if re.fullmatch(r"[a-z_]+/(?:[a-z_]+\.py)?", span)]
    assert files
    assert [name for name in files if not (ROOT / "cyclealign" / name).exists() and not (ROOT / name).exists()] == []


def test_tests_mirror_the_packages():
    """Prevents tests that are looked for in vain next to the package that they cover."""
    # Tests of more than one package.
    across = {
        "attacks",
        "benchmarks",
        "browser",
        "container",
        "docs",
        "first_hour",
        "homes",
        "recovery",
        "support",
        "vllm",
    }
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").is_file()}
    packages = {path.name for path in (ROOT / "cyclealign").iterdir() if (path / "__init__.py").is_file()}
    assert folders - across - {"flows"} <= packages
    modules = {path.stem for path in (ROOT / "cyclealign").glob("*.py")}
    assert {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")} <= modules
