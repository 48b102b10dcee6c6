"""Writes docs/configuration.md from the settings themselves: ``python docs/make_configuration.py``."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cyclealign.config import ExperimentConfig

HEAD = """# Settings

A TOML file for `cyclealign run`, and the form of `align` in the Prefect UI, take these settings. An unknown key is an
error. Nothing here is a secret: `judge.api_key_variable` is the *name* of an environment variable. The file is made by
`python docs/make_configuration.py`.
"""


def page() -> str:
    """The whole page."""
    top = {name: field for name, field in ExperimentConfig.model_fields.items() if not is_section(field)}
    parts = [HEAD, "## Experiment\n", table(top)]
    for name, field in ExperimentConfig.model_fields.items():
        if is_section(field):
            section: Any = field.annotation
            parts += [f"\n## [{name}]\n", f"{section.__doc__}\n", table(section.model_fields)]
    return "\n".join(parts) + "\n"


def is_section(field: FieldInfo) -> bool:
    """Whether a field is a table of its own in the TOML file."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def table(fields: dict[str, FieldInfo]) -> str:
    """A Markdown table of settings."""
    rows = ["| key | default | what it is |", "|---|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {default(field)} | {meaning(field)} |" for name, field in fields.items()])


def default(field: FieldInfo) -> str:
    """The default value as TOML would have it; a dash where a setting is empty."""
    return (
        "-" if field.default is None else f"`{str(field.default).lower() if field.default is True else field.default}`"
    )


def meaning(field: FieldInfo) -> str:
    """Title, description and choices."""
    choices = ""
    if get_origin(field.annotation) is Literal:
        choices = " One of " + ", ".join(f"`{each}`" for each in get_args(field.annotation)) + "."
    return f"{field.title}. {field.description or ''}{choices}".strip()


if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(page(), encoding="utf-8")
