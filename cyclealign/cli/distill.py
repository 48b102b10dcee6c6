"""`cyclealign distill`: run and inspect distillation jobs."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cyclealign.cli import score as scoring
from cyclealign.cli.console import console
from cyclealign.cli.distill_runs import print_run, show_runs
from cyclealign.cli.lazy import Moved, OldSpellings, new_app
from cyclealign.cli.run import quiet_libraries
from cyclealign.config import checked_settings, note_former
from cyclealign.distill.registry import JOBS, JobSpec, job_named
from cyclealign.distill.settings import JobConfig
from cyclealign.errors import BadConfig
from cyclealign.store import Store


class Distill(OldSpellings):
    """The commands of `cyclealign distill`; up to 0.1 it took a job, with options anywhere: `distill pld CONFIG`."""

    @staticmethod
    def moved(args: list[str]) -> Moved | None:
        """Return the replacement of an old spelling; None for a current one."""
        job = next((arg for arg in args if arg.replace("_", "-") in JOBS), None)
        if job is None or not (args[0] == job or args[0].startswith("-")):
            return None
        if "score" not in args:
            return Moved(f"distill {job}", "distill", ["run", *args])
        return Moved(f"distill {job} score", "distill", ["score", *(arg for arg in args if arg not in (job, "score"))])


app = new_app(
    cls=Distill,
    no_args_is_help=True,
    # Leaves options before the job to the command: an old spelling.
    context_settings={"ignore_unknown_options": True},
    help="Run and inspect distillation jobs.",
)


@app.command("list")
def list_jobs() -> None:
    """List the jobs and their demo settings."""
    table = Table("job", "description", "demo settings")
    for spec in JOBS.values():
        table.add_row(spec.name, escape(spec.about()), escape(os.path.relpath(spec.demo)))
    console.print(table)


@app.command()
def run(
    job: Annotated[str, typer.Argument(help=f"One of: {', '.join(JOBS)}.")],
    config: Annotated[Path | None, typer.Argument(help="A TOML file; examples in flows/configs/.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the demo's data and models: no download.")] = False,
    seed: Annotated[int | None, typer.Option(help="Random seed; each seed is a run of its own.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train finished runs again.")] = False,
    again: Annotated[bool, typer.Option("--again", hidden=True)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Distil a teacher into a student; rerunning resumes and reuses finished work."""
    spec = job_named(job)
    if again:
        note_former("--again", "--force")
    if (config is None) != demo:
        raise BadConfig(
            f"Give either a config or --demo: `cyclealign distill run {spec.name} CONFIG.toml`, "
            f"`cyclealign distill run {spec.name} --demo`."
        )
    settings = spec.config(config)
    options = {"seed": seed, "force": (force or again) or None}
    given = {name: value for name, value in options.items() if value is not None}
    run_job(spec, checked_settings({**settings.model_dump(), **given}, "command line", type(settings)), as_json)


def run_job(spec: JobSpec, config: JobConfig, as_json: bool) -> None:
    """Run the job's flow in this process with live progress, then print the run."""
    # The waits of threads for one another take longer than the threads save on small models.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    quiet_libraries()
    spec.check_installed()  # before a server starts
    from cyclealign.cli.progress_bars import live_progress
    from flows.server.ephemeral import use_prefect_server

    # With --json, standard output belongs to the program that reads it.
    progress = Console(stderr=True) if as_json else console
    with live_progress(progress), use_prefect_server("flows.distill", f"{spec.package}.job"):
        from flows.distill import FLOWS

        run_id = FLOWS[spec.name](config)
    with Store.open() as store:
        finished = next(row for row in store.distillations.runs(spec.name) if row["id"] == run_id)
    if as_json:
        print(json.dumps(finished, indent=2, default=str))
        return
    print_run(finished)


@app.command()
def show(
    job: Annotated[str | None, typer.Argument(help="One job; default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the runs of the jobs with their measures."""
    show_runs(job, as_json)


@app.command()
def score(
    file: Annotated[
        Path, typer.Argument(help='Dialogues: JSON Lines, {"context": [...], "response": "..."}, or Parquet.')
    ],
    model: Annotated[
        Path | None, typer.Option(help="Folder of a metric; default: the newest one trained here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score the coherence of dialogues from 1 to 5 by a metric that `quantidce` trained."""
    scoring.score(file, model, as_json)
