"""Settings of a run as a benchmark writes them, with changes from its command line."""

import argparse
import copy
import json
from collections.abc import Mapping
from typing import Any

Settings = dict[str, Any]  # sections and single values, as a config file has them


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``, whose values `changed` takes."""
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="A value as in JSON.")


def changes_in(words: list[str]) -> Settings:
    """What was given with ``--set``: value by ``SECTION.KEY``."""
    return {name: json.loads(value) for name, value in (each.split("=", 1) for each in words)}


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """The settings with some of them replaced."""
    made = copy.deepcopy(dict(config))
    for name, value in changes.items():
        section, _, key = name.partition(".")
        made.setdefault(section, {})[key] = value
    return made


def as_toml(config: Mapping[str, Any]) -> str:
    """Settings as TOML; None is left out. Texts, numbers, lists and booleans are in JSON what they are in TOML."""
    given = {name: value for name, value in config.items() if value is not None}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items() if not isinstance(value, dict)]
    for name, section in given.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{key} = {_inline(each)}" for key, each in section.items() if each is not None)]
    return "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)
