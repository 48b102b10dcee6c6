"""`cyclealign run`: run rounds of an experiment."""

import json
import os
import warnings
from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, print_plain
from cyclealign.cli.history import print_rounds
from cyclealign.cli.lazy import new_app
from cyclealign.config import ExperimentConfig, checked, load_config
from cyclealign.errors import AwaitsApproval
from cyclealign.files import home
from cyclealign.text import plain_text

app = new_app()


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="A TOML file; examples in flows/configs/.")],
    rounds: Annotated[int | None, typer.Option(help="Number of rounds to run.")] = None,
    until: Annotated[int | None, typer.Option(help="Stop when the experiment has this many rounds.")] = None,
    experiment: Annotated[
        str | None,
        typer.Option(help="Name of the experiment, in place of the config's.", autocompletion=experiment_names),
    ] = None,
) -> None:
    """Run rounds of an experiment; rerunning after an interruption resumes and reuses finished work."""
    settings = load_config(config)
    options = {"rounds": rounds, "until": until, "experiment": experiment}
    given = {name: value for name, value in options.items() if value is not None}
    run_align(checked({**settings.model_dump(exclude_unset=True), **given}, "command line"))


def run_align(config: ExperimentConfig, as_json: bool = False) -> None:
    """Check the config, run the flow in this process with live progress, then print the history."""
    quiet_libraries()
    from cyclealign.loop.lease import require_free
    from cyclealign.loop.preflight.check import require_ready
    from cyclealign.store import Store

    with Store.open() as store:  # before the judge is asked and Prefect starts: the lease is taken only after both
        require_free(store, config.experiment)
    require_ready(config, notify=lambda line: print_plain(f"Note: {line}"))
    from cyclealign.cli.progress_bars import live_progress
    from flows.server.ephemeral import use_prefect_server

    with live_progress(console), use_prefect_server("flows.align"):
        from flows.align import align

        waits = ""
        try:
            align(config)
        except AwaitsApproval as waiting:
            waits = str(waiting)
    with Store.open() as store:
        if as_json:
            print(json.dumps(store.history.summaries(config.experiment), indent=2, default=str))
            return
        print_rounds(store, config.experiment)
    print_plain(f"Plots: {home() / 'reports' / (config.experiment + '.svg')}")
    if waits:
        print_plain(plain_text(waits))


def quiet_libraries() -> None:
    """Leave the terminal to progress bars and messages of this project."""
    # Prefect would print the traceback of a failed run; the terminal gets one message, the run's log the traceback.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
