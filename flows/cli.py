"""The console script: the library's commands, and those that run a flow."""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cyclealign.cli import app, console
from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import CycleAlignError
from cyclealign.files import home

# Prefect prints a failed run's traceback itself; the terminal gets our one message instead, and the run's log the rest.
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "cyclealign,flows",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare_prefect() -> None:
    """Set Prefect up before its first import; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    os.environ.setdefault("PREFECT_HOME", str(home() / "prefect"))


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file; examples in flows/configs/.")],
    rounds: Annotated[int | None, typer.Option(help="Advance by so many rounds.")] = None,
    until: Annotated[int | None, typer.Option(help="Or: until the experiment has so many.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Another name for the experiment.")] = None,
) -> None:
    """Advance an experiment; the same command goes on after a crash."""
    settings = load_config(config)
    changes = {"rounds": rounds, "until": until, "experiment": experiment}
    changed = {**settings.model_dump(), **{name: value for name, value in changes.items() if value is not None}}
    run_align(ExperimentConfig.model_validate(changed))


def run_align(config: ExperimentConfig) -> None:
    """Run the flow in this process with live progress, then print the history."""
    prepare_prefect()
    from cyclealign.cli import print_rounds
    from cyclealign.store import Store
    from flows.align import align
    from flows.terminal import live_progress

    with live_progress(console):
        align(config)
    with Store.open() as store:
        print_rounds(store, config.experiment)
    console.print(f"Plots: {home() / 'reports' / (config.experiment + '.svg')}")


@app.command()
def up(port: Annotated[int, typer.Option(help="Of the Prefect UI.")] = 4200) -> None:
    """Start the Prefect UI, a worker and the deployments, on this machine only."""
    from flows.launch import up as start

    start(port)


def main() -> None:
    """Run the command line; an error that has a name ends in one message, not in a traceback."""
    try:
        app()
    except CycleAlignError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from here.")
        sys.exit(130)
