"""Make the pages of commands and modules of the site from the code, at every `make docs`."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from cyclealign.cli.lazy import load
from cyclealign.cli.main import app

ROOT = Path(__file__).parent.parent
COMMANDS = """# Commands

`cyclealign COMMAND --help` prints the same. Made from the code.
"""
MODULES = """# Modules

Packages and modules with their public classes and functions. The docstrings in the code give shapes, units, errors
and sources. Made from the code.
"""


def pages() -> dict[str, str]:
    """Return the pages by file name."""
    return {"commands.md": commands_page(), "modules.md": modules_page()}


def commands_page() -> str:
    """Return the page of all commands with their arguments and options."""
    main: Any = typer.main.get_command(app)
    parts = [COMMANDS]
    for name in main.commands:
        parts.extend(sections(f"cyclealign {name}", load(name)))
    return "\n".join(parts)


def sections(path: str, command: Any) -> Iterator[str]:
    """Yield the section of a command, or those of a group's commands."""
    if getattr(command, "commands", None):
        yield f"## {path}\n\n{cell(command.help)}\n"
        for name, part in command.commands.items():
            yield f"### {path} {name}\n\n{about(part)}"
    else:
        yield f"## {path}\n\n{about(command)}"


def about(command: Any) -> str:
    """Return a command's help and the table of its parameters."""
    rows = [
        f"| {names(one)} | {cell(one.help)} | {default(one)} |"
        for one in command.params
        if not one.hidden and one.name != "help"
    ]
    table = ["| argument or option | meaning | default |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"{cell(command.help)}\n", *table])


def names(parameter: Any) -> str:
    """Return the names under which a parameter is given."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def default(parameter: Any) -> str:
    """Return a parameter's default value; a dash if there is none."""
    value = None if callable(parameter.default) else parameter.default
    if parameter.required:
        return "required"
    if value is None or isinstance(value, bool) or value in ((), []):
        return "-"
    return f"`{getattr(value, 'value', value)}`"


def cell(text: str | None) -> str:
    """Return a text for one cell of a table."""
    return " ".join(inspect.cleandoc(text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def modules_page() -> str:
    """Return the page of the packages' modules."""
    folders = sorted(path.parent for top in ("cyclealign", "flows") for path in (ROOT / top).rglob("__init__.py"))
    return "\n".join([MODULES, *(package(folder) for folder in folders)])


def package(folder: Path) -> str:
    """Return the section of a package: its docstring, and a row for each module."""
    rows = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name != "__init__.py":
            members = ", ".join(f"`{name}`" for name in public_names(tree))
            rows.append(f"| `{path.stem}` | {cell(summary(tree))} | {members} |")
        else:
            head = cell(summary(tree))
    name = ".".join(folder.relative_to(ROOT).parts)
    return "\n".join([f"## {name}\n\n{head}\n", "| module | content | public names |", "|---|---|---|", *rows, ""])


def summary(tree: ast.Module) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def public_names(tree: ast.Module) -> list[str]:
    """Return the classes and functions of a module whose name has no leading underscore."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
