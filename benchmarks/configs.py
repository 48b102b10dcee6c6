"""Job configs of benchmarks: changes from the command line, TOML, and runs of `cyclealign distill run` in a process."""

import argparse
import copy
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
Settings = dict[str, Any]  # sections and single values, as in a config file


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--set``, whose values `parse_changes` takes."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="Change a setting; the value is JSON."
    )


def parse_changes(options: list[str]) -> Settings:
    """Return ``SECTION.KEY`` -> value of the options ``--set``."""
    return {name: json.loads(value) for name, value in (option.split("=", 1) for option in options)}


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    """Return the config with some settings replaced."""
    result = copy.deepcopy(dict(config))
    for name, value in changes.items():
        section, _, key = name.partition(".")
        result.setdefault(section, {})[key] = value
    return result


def as_toml(config: Mapping[str, Any]) -> str:
    """Return settings as TOML, without None. Strings, numbers, lists and booleans are the same in JSON and TOML."""
    settings = {name: value for name, value in config.items() if value is not None}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items() if not isinstance(value, dict)]
    for name, section in settings.items():
        if isinstance(section, dict):
            lines += [
                f"[{name}]",
                *(f"{key} = {_inline(value)}" for key, value in section.items() if value is not None),
            ]
    return "\n".join(lines) + "\n"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def job_command(job: str, config: Path, as_json: bool) -> list[str]:
    """Return the command line of `cyclealign distill run JOB CONFIG`."""
    return [sys.executable, "-m", "cyclealign.cli.main", "distill", "run", job, str(config), *(["--json"] * as_json)]


def job_environment(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a job's process, without network access to the Hugging Face hub."""
    return {**os.environ, "CYCLEALIGN_HOME": str(home), "HF_HUB_OFFLINE": "1", **variables}


def run_in_process(job: str, config: Path, home: Path, **variables: str) -> dict[str, Any]:
    """Run a job in a process of its own; return the run as ``--json`` prints it."""
    environment = job_environment(home, **variables)
    done = subprocess.run(
        job_command(job, config, True), cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    run: dict[str, Any] = json.loads(done.stdout)
    return run
