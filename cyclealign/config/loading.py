"""Load settings from files and plain values; errors name the file and the key."""

import logging
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from cyclealign.config.experiment import ExperimentConfig
from cyclealign.config.former_names import models_of
from cyclealign.config.section import Section
from cyclealign.errors import BadConfig
from cyclealign.records import SIMULATED_MODEL
from cyclealign.text import did_you_mean

logger = logging.getLogger(__name__)

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
        raise BadConfig("\n".join(_complaint(where, problem, model) for problem in error.errors())) from error


def stored_settings(raw: Mapping[str, object], where: str) -> ExperimentConfig:
    """Return the settings that a round was opened with; errors as in `checked_settings`.

    Earlier releases let the simulated judge rank under another model's name, or at an address. Such a round opens: the
    judge gets its own name, or the kind of a judge at an address.
    """
    judge = raw.get("judge")
    if isinstance(judge, Mapping) and judge.get("kind") == "simulated":
        if judge.get("base_url"):
            raw = {**raw, "judge": {**judge, "kind": "openai"}}
        elif (name := judge.get("model", SIMULATED_MODEL)) != SIMULATED_MODEL:
            logger.warning("%s: the simulated judge ranked under the name '%s'; it is not that model.", where, name)
            raw = {**raw, "judge": {**judge, "model": SIMULATED_MODEL}}
    return checked(raw, where)


def setting_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings and sections."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for section in models_of(field.annotation):
            yield from setting_names(section, f"{prefix}{name}.")


def suggestion(key: str, model: type[BaseModel]) -> str:
    """Return a question that names the setting meant: a like name in the same section, else the name elsewhere."""
    section, _, name = key.rpartition(".")
    known = list(setting_names(model))
    if elsewhere := [other for other in known if other.rpartition(".")[2] == name]:
        return f" Did you mean '{elsewhere[0]}'?"
    beside = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    return did_you_mean(name, beside, beside)


def _complaint(path: str, problem: object, model: type[BaseModel]) -> str:
    assert isinstance(problem, dict)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown setting '{key}'.{suggestion(key, model)} See docs/configuration.md for every setting."
    if key == "judge.base_url":  # the value may hold a password, which must not reach a log
        return f"{path}: '{key}' is an address such as https://api.openai.com/v1, without user, password, key or '?'."
    if "api_key" in key:  # the value may be a pasted key, which must not reach a log
        return f"{path}: '{key}' is the name of the variable or block that holds the key, never the key itself."
    if key.startswith(("judge.extra_headers", "judge.extra_body")):  # as above
        return f"{path}: '{key}': {problem['msg']}"
    if problem["type"] == "value_error":
        return f"{path}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{path}: '{key}': {problem['msg']} (got {problem['input']!r})"
