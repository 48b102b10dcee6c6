"""The console script: the library's commands, and those that run a flow."""

import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign.cli.console import console
from cyclealign.cli.distill import distill
from cyclealign.cli.history import print_rounds
from cyclealign.cli.judges import judges
from cyclealign.cli.prompts import app
from cyclealign.cli.rejudge import rejudge
from cyclealign.cli.review import review
from cyclealign.config import ExperimentConfig, checked, load_config
from cyclealign.errors import CycleAlignError
from cyclealign.files import CHECKOUT, EXAMPLES, home

INTERRUPTED = 130  # what typer makes of Ctrl-C

NEXT_STEPS = """
[bold]Next[/]
  [cyan]{program} history {experiment} --round 3[/]
      every answer, in the judge's order
  [cyan]make up[/]
      the Prefect UI on http://127.0.0.1:4200, to start rounds from a form
  [cyan]{program} prompts show rank --example[/]
      what the judge is shown; edit prompts/rank.jinja and run again
  [cyan]{program} run flows/configs/own-model.toml[/]
      your own model and judge; name them in that file first

The judge of this demo is simulated: a small ranking model that learns from the
demonstrations in its prompt.
"""


def program() -> str:
    """How this program is called from the shell that called it."""
    return "cyclealign" if shutil.which("cyclealign") else sys.argv[0]


def shipped_prompts() -> Path:
    """The templates of the checkout that this program runs from."""
    return CHECKOUT / "prompts"


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
    run_align(checked(changed, "command line"))


def run_align(config: ExperimentConfig, as_json: bool = False) -> None:
    """Run the flow in this process with live progress, then print the history."""
    # Prefect would print a failed run's traceback itself; the terminal gets our one message, the run's log the rest.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    from cyclealign.cli.progress_bars import live_progress
    from cyclealign.store import Store
    from flows.server.ephemeral import prefect_at_hand

    with live_progress(console), prefect_at_hand("flows.align"):
        from flows.align import align

        align(config)
    with Store.open() as store:
        if as_json:
            print(json.dumps(store.history.summaries(config.experiment), indent=2, default=str))
            return
        print_rounds(store, config.experiment)
    console.print(f"Plots: {home() / 'reports' / (config.experiment + '.svg')}")


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed is another experiment.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rounds for programs.")] = False,
) -> None:
    """Three rounds in the demo world: a tiny policy, a simulated judge, nothing to download, no key."""
    # The model is so small that a step is shorter than the waits between threads: one thread is several times quicker.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = load_config(EXAMPLES / "demo.toml")
    changed = {"seed": seed, "experiment": f"demo-{seed}" if seed else "demo", "templates": str(shipped_prompts())}
    config = config.model_copy(update=changed)
    run_align(config, as_json)
    if not as_json:
        console.print(NEXT_STEPS.format(experiment=config.experiment, program=program()))


@app.command()
def estimate(
    config: Annotated[Path, typer.Argument(help="A TOML file, as for `cyclealign run`.")],
    sample: Annotated[int, typer.Option(min=0, help="Prompts that the policy answers; 0: it is not loaded.")] = 16,
    rounds: Annotated[int | None, typer.Option(help="So many rounds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Foretell the judge's calls, tokens and money. Nothing is spent: the judge is not asked."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    settings = load_config(config)
    if rounds is not None:
        settings = settings.model_copy(update={"rounds": rounds, "until": None})
    from cyclealign.loop.estimate import estimate as foresee
    from cyclealign.loop.estimate import estimate_rows

    found = foresee(settings, sample)
    if as_json:
        print(json.dumps(estimate_rows(found), indent=2))
        return
    table = Table("round", "for", "calls", "tokens", "USD", title=f"Foreseen for '{settings.experiment}'")
    for row in estimate_rows(found):
        table.add_row(
            str(row["round"]), str(row["purpose"]), f"{row['calls']:,}", f"{row['tokens']:,}", f"{row['usd']:.4f}"
        )
    console.print(table)


app.command("judges")(judges)
app.command("review")(review)
app.command("distill")(distill)
app.command("rejudge")(rejudge)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="A TOML file; the demo's where absent.")] = None,
) -> None:
    """Say what a config needs and this machine lacks."""
    from cyclealign.cli.doctor import examine

    findings = examine(load_config(config or EXAMPLES / "demo.toml"))
    for each in findings:
        mark = "[bold red]missing[/]" if each.missing else "[green]fine[/]"
        console.print(f"{mark}  {each.what}: {escape(each.says)}", highlight=False)
    if any(each.missing for each in findings):
        raise typer.Exit(1)


@app.command()
def up(port: Annotated[int, typer.Option(help="Of the Prefect UI.")] = 4200) -> None:
    """Start the Prefect UI, a worker and the deployments, on this machine only."""
    from flows.server.up import up as start

    start(port)


def main() -> None:
    """Run the command line; an error that has a name ends in one message, not in a traceback."""
    try:
        app()
    except CycleAlignError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}")
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            console.print("Stopped. The same command goes on from here.")
        raise


if __name__ == "__main__":
    main()
