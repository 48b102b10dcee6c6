"""A command group that imports the module of a command when the command is called."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class LazyGroup(TyperGroup):
    """List commands by name and one-line help; import `cyclealign.cli.<command>` only to run it or to show its help.

    Importing every command costs seconds of processor time, for libraries that `--help` does not need.
    """

    summaries: Mapping[str, str] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=text) for name, text in self.summaries.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the listed stand-in by the command itself."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in and load(str(name)), rest


class Moved(NamedTuple):
    """An old spelling, and the group and arguments that replace it."""

    old: str
    group: str
    args: list[str]


class OldSpellings(TyperGroup):
    """A group of commands that also accepts the spellings of the last release, with a notice."""

    @staticmethod
    def moved(args: list[str]) -> Moved | None:
        """Return the replacement of an old spelling; None for a current one."""
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace an old spelling by the current command."""
        new = self.moved(args)
        if new is None:
            return super().resolve_command(ctx, args)
        note_old_spelling(new.old, f"{new.group} {new.args[0]}")
        target = self if new.group == self.name else load(new.group)
        return TyperGroup.resolve_command(target, ctx, new.args)


def load(name: str) -> Any:
    """Return the command of that name: the ``app`` of its module."""
    command = typer.main.get_command(importlib.import_module(f"cyclealign.cli.{name}").app)
    command.name = name
    return command


def new_app(**settings: Any) -> typer.Typer:
    """Return an app with this project's settings: errors keep their own text, and ``[judge]`` is text, not markup."""
    defaults = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
    return typer.Typer(**{**defaults, **settings})


def note_old_spelling(old: str, new: str) -> None:
    """Name the current spelling on standard error, so that a program that reads standard output is not disturbed."""
    print(f"`cyclealign {old}` is now `cyclealign {new}`; the old spelling will be removed in 0.3.", file=sys.stderr)
