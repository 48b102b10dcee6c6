"""Writes docs/configuration.md, and a page for each distillation job, from the settings themselves.

``python docs/make_configuration.py``
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cyclealign.config import ExperimentConfig
from cyclealign.distill.registry import JOBS

HEAD = """# Settings

A TOML file for `cyclealign run`, and the form of `align` in the Prefect UI, take these settings. An unknown key is an
error. Nothing here is a secret: `judge.api_key_variable` is the *name* of an environment variable. The file is made by
`python docs/make_configuration.py`.
"""
JOB_HEAD = """# Settings of the job {name}

{about}

A TOML file for `cyclealign distill {name}`, and the form of `{name}` in the Prefect UI, take these settings. An unknown
key is an error. The file is made by `python docs/make_configuration.py`.
"""


def pages() -> dict[str, str]:
    """Every page by its name under docs/."""
    made = {"configuration.md": page(ExperimentConfig, HEAD, "Experiment")}
    for name, entry in JOBS.items():
        model = entry.config_model()
        head = JOB_HEAD.format(name=name, about=(model.__doc__ or "").strip())
        made[f"configuration-{name}.md"] = page(model, head, "Top")
    return made


def page(model: type[BaseModel], head: str, top: str) -> str:
    """The whole page."""
    fields = {name: field for name, field in model.model_fields.items() if section(field) is None}
    parts = [head, f"## {top}\n", table(fields)]
    for name, inner in sections(model):
        parts += [f"\n## {name}\n", f"{inner.__doc__}\n", table(inner.model_fields)]
    return "\n".join(parts) + "\n"


def sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The tables of the TOML file, by their headings; a list of tables has doubled brackets."""
    for name, field in model.model_fields.items():
        inner = section(field)
        if inner is not None:
            yield (f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"), inner


def section(field: FieldInfo) -> type[BaseModel] | None:
    """The settings of a field that is a table of its own in the TOML file, or a list of tables."""
    kind: Any = field.annotation
    if get_origin(kind) is tuple:
        kind = get_args(kind)[0]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def table(fields: dict[str, FieldInfo]) -> str:
    """A Markdown table of settings."""
    rows = ["| key | default | what it is |", "|---|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {default(field)} | {meaning(field)} |" for name, field in fields.items()])


def default(field: FieldInfo) -> str:
    """The default value as TOML would have it; a dash where a setting is empty."""
    if field.is_required() or field.default is None or field.default in ((), {}, ({},)):
        return "-"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def meaning(field: FieldInfo) -> str:
    """Title, description and choices."""
    choices = ""
    if get_origin(field.annotation) is Literal:
        choices = " One of " + ", ".join(f"`{each}`" for each in get_args(field.annotation)) + "."
    return f"{field.title}. {field.description or ''}{choices}".strip()


if __name__ == "__main__":
    for name, text in pages().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
