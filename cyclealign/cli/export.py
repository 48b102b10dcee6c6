"""`cyclealign export`: an experiment's rankings, preferences or best answers as a data set."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cyclealign import export as export_
from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.files import home
from cyclealign.store import Store

app = new_app()


@app.command()
def export(
    kind: Annotated[
        Literal["rankings", "preferences", "sft"],
        typer.Argument(help="Ranked lists, pairs for DPO and reward models, or prompts with the best answer."),
    ],
    experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
    number: Annotated[int | None, typer.Option("--round", help="One round, whether accepted or not.")] = None,
    all_rounds: Annotated[bool, typer.Option("--all-rounds", help="All rounds; default: the accepted ones.")] = False,
    format_: Annotated[
        Literal["jsonl", "parquet", "dataset"],
        typer.Option("--format", help="`dataset`: for `datasets.load_from_disk`."),
    ] = "jsonl",
    output: Annotated[
        Path | None, typer.Option(help="The folder to write; default: exports/EXPERIMENT-KIND in the home folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in that folder.")] = False,
    tool: Annotated[
        Literal["trl", "argilla"], typer.Option("--for", help="TRL's forms, or Argilla's records (rankings).")
    ] = "trl",
    min_preference: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1.0,
            help="Export pairs on which at least this share of the verdicts agrees; default: training.min_preference.",
        ),
    ] = None,
    form: Annotated[
        Literal["prompt-completion", "messages"], typer.Option(help="The form of sft rows.")
    ] = "prompt-completion",
) -> None:
    """Export an experiment's ranked answers for TRL, Argilla or `datasets`, with a data card (README.md)."""
    request = export_.ExportRequest(
        kind=kind,
        experiment=experiment,
        number=number,
        all_rounds=all_rounds,
        format=format_,
        min_preference=min_preference,
        as_messages=form == "messages",
        argilla=tool == "argilla",
    )
    with Store.open() as store:
        folder = home() / "exports" / f"{experiment}-{kind}" if output is None else output
        done = export_.export(store, request, folder, overwrite)
    print_plain(
        f"{done.folder}: rows {done.rows}, lists {done.lists} (ranked by people: {done.by_people}), rounds "
        f"{done.rounds}. README.md tells their origin."
    )
