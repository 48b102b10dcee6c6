"""The command `cyclealign distill`: run a distillation job in this process, with live progress."""

import json
import os
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cyclealign.cli import score
from cyclealign.cli.console import console
from cyclealign.cli.history import print_job
from cyclealign.config import checked_settings, note_former
from cyclealign.distill.registry import JOBS, JobSpec, job_named
from cyclealign.distill.settings import JobConfig
from cyclealign.errors import BadConfig


def distill(
    job: Annotated[str, typer.Argument(help=f"One of: {', '.join(JOBS)}.")],
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; examples in flows/configs/. Or `score`, with quantidce.")
    ] = None,
    file: Annotated[Path | None, typer.Argument(help="Of `quantidce score`: the dialogues, JSON lines.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Everything made on the spot, in a minute or so.")] = False,
    seed: Annotated[int | None, typer.Option(help="Another seed is another run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train finished runs again.")] = False,
    again: Annotated[bool, typer.Option("--again", hidden=True)] = False,
    model: Annotated[Path | None, typer.Option(help="Of `quantidce score`: another metric's folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run for programs.")] = False,
) -> None:
    """Distil a teacher into a student; the same command finds what is complete, after a crash too."""
    entry = job_named(job)
    if again:
        note_former("--again", "--force")
    force = force or again
    if entry.name == score.JOB and config == Path("score"):
        idle = [name for name, given in {"--demo": demo, "--seed": seed is not None, "--force": force}.items() if given]
        if idle:
            raise BadConfig(f"`cyclealign distill {entry.name} score` trains nothing: leave out {', '.join(idle)}.")
        score.score(file, model, as_json)
        return
    if file is not None or model is not None:
        raise BadConfig("A second file and --model belong to `cyclealign distill quantidce score FILE`.")
    if (config is None) != demo:
        raise BadConfig(
            f"Give a config or --demo, one of the two: `cyclealign distill {entry.name} CONFIG.toml`, "
            f"`cyclealign distill {entry.name} --demo`."
        )
    settings = entry.config(config)
    changes = {"seed": seed, "force": force or None}
    changed = {**settings.model_dump(), **{name: value for name, value in changes.items() if value is not None}}
    run_job(entry, checked_settings(changed, "command line", type(settings)), as_json)


def run_job(entry: JobSpec, config: JobConfig, as_json: bool) -> None:
    """Run the job's flow, then print the run."""
    # Small models on a busy machine: waits between threads take longer than what the threads would save.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Prefect would print a failed run's traceback itself; the terminal gets our one message, the run's log the rest.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    from cyclealign.cli.progress_bars import live_progress
    from cyclealign.store import Store
    from flows.server.ephemeral import prefect_at_hand

    # With --json, standard output is for the program that reads it.
    progress = Console(stderr=True) if as_json else console
    with live_progress(progress), prefect_at_hand("flows.distill", f"{entry.package}.job"):
        from flows.distill import FLOWS

        run_id = FLOWS[entry.name](config)
    with Store.open() as store:
        run = next(each for each in store.distillations.runs(entry.name) if each["id"] == run_id)
    if as_json:
        print(json.dumps(run, indent=2, default=str))
        return
    print_job(run)
