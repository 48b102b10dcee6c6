"""Load settings from files and plain values; errors name the file and the key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cyclealign.config.experiment import ExperimentConfig
from cyclealign.config.section import Section
from cyclealign.errors import BadConfig

Settings = TypeVar("Settings", bound=Section)


def load_config(path: Path) -> ExperimentConfig:
    """Read an experiment's TOML file; errors as in `load_settings`."""
    return load_settings(path, ExperimentConfig)


def load_settings(path: Path, model: type[Settings]) -> Settings:
    """Read a TOML file.

    Raises:
        BadConfig: the file cannot be read, or a key or value is wrong; the message names file and key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: not a TOML file: {error}") from error
    return checked_settings(raw, str(path), model)


def checked(raw: Mapping[str, object], where: str) -> ExperimentConfig:
    """Return an experiment's settings from plain values; errors as in `checked_settings`."""
    return checked_settings(raw, where, ExperimentConfig)


def checked_settings(raw: Mapping[str, object], where: str, model: type[Settings]) -> Settings:
    """Return validated settings from plain values.

    Raises:
        BadConfig: a key or value is wrong; the message names it and its source, ``where``.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise BadConfig("\n".join(_complaint(where, problem) for problem in error.errors())) from error


def _complaint(path: str, problem: object) -> str:
    assert isinstance(problem, dict)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown setting '{key}'. See docs/configuration.md for every setting."
    if key == "judge.base_url":  # the value may hold a password, which must not reach a log
        return f"{path}: '{key}' is an address such as https://api.openai.com/v1, without user, password or '?'."
    if "api_key" in key:  # the value may be a pasted key, which must not reach a log
        return f"{path}: '{key}' is the name of the variable or block that holds the key, never the key itself."
    if problem["type"] == "value_error":
        return f"{path}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{path}: '{key}': {problem['msg']} (got {problem['input']!r})"
