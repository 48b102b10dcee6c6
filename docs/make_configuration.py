"""Generate docs/configuration.md, and a page for each distillation job, from the settings classes.

``python docs/make_configuration.py`` writes the pages; with ``--check`` it exits with 1 if a page is out of date.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cyclealign.config import ExperimentConfig
from cyclealign.config.no_effect import conditions
from cyclealign.distill.registry import JOBS

HEAD = """# Settings

A TOML file for `cyclealign run`, and the form of `align` in the Prefect UI, take these settings. An unknown key is an
error. No setting is a secret: `judge.api_key_variable` is the *name* of an environment variable. `make docs` generates
this page.
"""
JOB_HEAD = """# Settings of the job {name}

{about}

A TOML file for `cyclealign distill run {name}`, and the form of `{name}` in the Prefect UI, take these settings. An
unknown key is an error. `make docs` generates this page.
"""


def pages() -> dict[str, str]:
    """Return the text of every page by its file name under docs/."""
    texts = {"configuration.md": page(ExperimentConfig, HEAD, "Experiment")}
    for name, spec in JOBS.items():
        model = spec.config_model()
        head = JOB_HEAD.format(name=name, about=inspect.getdoc(model))
        texts[f"configuration-{name}.md"] = page(model, head, "Top")
    return texts


def page(model: type[BaseModel], head: str, top: str) -> str:
    """Return a page: the head, a table of the top-level settings, and a table for each section."""
    fields = {name: field for name, field in model.model_fields.items() if section_of(field) is None}
    parts = [head, f"## {top}\n", table(fields)]
    for heading, section in sections(model):
        parts += [f"\n## {heading}\n", f"{inspect.getdoc(section)}\n", table(section.model_fields)]
    return "\n".join(parts) + "\n"


def sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield heading and class of each TOML table; the heading of a list of tables has double brackets."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            yield (f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"), section


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the settings class of a field that is a TOML table or a list of tables, otherwise None."""
    kind: Any = field.annotation
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def table(fields: dict[str, FieldInfo]) -> str:
    """Return a Markdown table of settings."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {default(field)} | {meaning(field)} |" for name, field in fields.items()])


def default(field: FieldInfo) -> str:
    """Return the default in TOML's spelling, or a dash if the setting is empty."""
    if field.is_required() or field.default is None or field.default in ((), {}, ({},)):
        return "-"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def meaning(field: FieldInfo) -> str:
    """Return title, description and choices."""
    choices = ""
    if values := choices_of(field.annotation):
        choices = "One of " + ", ".join(f"`{value}`" for value in values) + "."
    sentences = [f"{field.title}.", field.description, choices, *(mark.words() for mark in conditions(field))]
    return " ".join(sentence for sentence in sentences if sentence)


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the values of a ``Literal``, nested ones included; empty for any other type."""
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def outdated() -> list[str]:
    """Return the file names of the pages that differ from their settings."""
    return [name for name, text in pages().items() if not is_file_with(Path(__file__).with_name(name), text)]


def is_file_with(path: Path, text: str) -> bool:
    """Return whether the file exists and has this text."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> None:
    """Write the pages, or check them."""
    if "--check" in sys.argv[1:]:
        if names := outdated():
            sys.exit(f"Out of date: {', '.join(names)}. Run `make docs`.")
        return
    for name, text in pages().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
