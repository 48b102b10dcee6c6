"""Deployments of the user's own configs: kept as TOML files in the home, and registered at every start.

The files are the record. So a deployment survives `cyclealign up`, a new Prefect database, and new settings with their
defaults; what the form shows is what the file says.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.config.section import Section
from cyclealign.errors import BadConfig, CycleAlignError
from cyclealign.files import CHECKOUT
from flows.server.environment import ServerConfig

TEMPLATE = "align"  # the entry of prefect.yaml that the deployments are made from
RESERVED = {"align", "demo"}
REMOVED = ".removed"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder_of(home: Path) -> Path:
    """Return the folder of the configs."""
    return home / "deployments"


def keep(home: Path, path: Path, name: str | None) -> str:
    """Keep a copy of a config for a deployment and return the deployment's name.

    Args:
        name: default: the config's experiment.

    Raises:
        BadConfig: the config is wrong, or the name is taken by a deployment of this project.
    """
    config = load_config(path)
    chosen = name or config.experiment
    if not NAME.fullmatch(chosen):
        raise BadConfig(f"'{chosen}' cannot name a deployment: use letters, digits, dots, dashes and underscores.")
    if chosen in RESERVED:
        raise BadConfig(f"'{chosen}' is a deployment of this project. Choose another name: `--name my-{chosen}`.")
    folder_of(home).mkdir(parents=True, exist_ok=True)
    part = folder_of(home) / f"{chosen}.part"
    part.write_bytes(path.read_bytes())
    part.replace(folder_of(home) / f"{chosen}.toml")
    return chosen


def drop(home: Path, name: str) -> None:
    """Delete the kept config; its deployment is deleted on the next occasion.

    Raises:
        BadConfig: there is none of that name; the message lists those that there are.
    """
    path = folder_of(home) / f"{name}.toml"
    if not NAME.fullmatch(name) or not path.is_file():
        raise BadConfig(f"There is no deployment '{name}' of your own (there are: {', '.join(names(home)) or 'none'}).")
    path.replace(path.with_suffix(REMOVED))


def names(home: Path) -> list[str]:
    """Return the names of the user's deployments."""
    return sorted(path.stem for path in folder_of(home).glob("*.toml"))


def removed(home: Path) -> Iterator[str]:
    """Yield the name of each deployment that is to be deleted; forget it once the caller has done so."""
    for path in sorted(folder_of(home).glob(f"*{REMOVED}")):
        if path.stem not in names(home):
            yield path.stem
        path.unlink()


def readable(home: Path) -> Iterator[tuple[str, ExperimentConfig | CycleAlignError]]:
    """Yield each deployment's name with its settings, or with the reason why the file cannot be read any more."""
    for name in names(home):
        try:
            yield name, load_config(folder_of(home) / f"{name}.toml")
        except CycleAlignError as error:
            yield name, error


def file_with_own(server: ServerConfig, standard: Path) -> tuple[Path, list[str]]:
    """Return the file of all deployments, the standard ones and the user's, and warnings about configs left out.

    Args:
        standard: prefect.yaml.
    """
    settings, warnings = {}, []
    for name, config in readable(server.home):
        if isinstance(config, ExperimentConfig):
            settings[name] = config
        else:
            warnings.append(f"The deployment '{name}' is left as it was: {config}")
    if not settings:
        return standard, warnings
    content = yaml.safe_load(standard.read_text(encoding="utf-8"))
    template = template_in(content)
    content["deployments"] += [entry(template, name, config) for name, config in settings.items()]
    path = folder_of(server.home) / "prefect.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path, warnings


def template_in(content: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of `align` in the file's content, else that of the checkout."""
    for deployments in (
        content["deployments"],
        yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"],
    ):
        for deployment in deployments:
            if deployment["name"] == TEMPLATE:
                return dict(deployment)
    raise BadConfig(f"prefect.yaml has no deployment '{TEMPLATE}'. Restore it from the repository.")


def entry(template: dict[str, Any], name: str, config: ExperimentConfig) -> dict[str, Any]:
    """Return the deployment of a config.

    All settings are written out, since the form shows only those.
    """
    about = f"Your own settings, kept in the home as `deployments/{name}.toml` by `cyclealign deploy`. "
    return {
        **template,
        "name": name,
        "description": about + template["description"],
        "parameters": {"config": written_out(config)},
    }


def written_out(section: Section) -> dict[str, Any]:
    """Return the settings as JSON values; without null, which Prefect refuses here.

    A setting that is left out takes its default. Where that is a value, as of `judge.temperature`, null is "none".
    """
    dumped = section.model_dump(mode="json")
    values: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            values[name] = written_out(value)
        elif value is not None:
            values[name] = dumped[name]
        elif field.get_default(call_default_factory=True) is not None:
            values[name] = "none"
    return values
