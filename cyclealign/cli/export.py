"""`cyclealign export`: an experiment's rankings, preferences or best answers as a data set, or its trained weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from typer.core import TyperGroup

from cyclealign import export as export_
from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import print_plain
from cyclealign.cli.export_model import export_model
from cyclealign.cli.lazy import new_app
from cyclealign.export.columns import Kind
from cyclealign.files import home
from cyclealign.store import Store

FLAGS = ("--all-rounds", "--overwrite")
SUMMARIES: dict[Kind, str] = {
    "rankings": "Export ranked lists, for TRL, Argilla or `datasets`, with a data card (README.md).",
    "preferences": "Export pairs for DPO and reward models, with a data card (README.md).",
    "sft": "Export prompts with the best answer, with a data card (README.md).",
}


class Kinds(TyperGroup):
    """The kinds of exports; options may stand before the kind, which was an argument up to 0.2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the kind first: the first word that names one and is not the value of an option."""
        before = ["", *args]
        place = next(
            (
                place
                for place, word in enumerate(args)
                if word in self.commands and (before[place] in FLAGS or not before[place].startswith("-"))
            ),
            0,
        )
        rest: list[str] = super().parse_args(ctx, [*args[place : place + 1], *args[:place], *args[place + 1 :]])
        return rest


app = new_app(
    cls=Kinds, no_args_is_help=True, help="Export rankings, pairs or best answers as a data set, or trained weights."
)
app.command("model")(export_model)


def data_set_command(kind: Kind) -> Callable[..., None]:
    """Return the command that exports this kind of rows."""

    def export(
        experiment: Annotated[str, typer.Argument(help="The experiment.", autocompletion=experiment_names)],
        number: Annotated[int | None, typer.Option("--round", help="One round, whether accepted or not.")] = None,
        all_rounds: Annotated[
            bool, typer.Option("--all-rounds", help="All rounds; default: the accepted ones.")
        ] = False,
        format_: Annotated[
            Literal["jsonl", "parquet", "dataset"],
            typer.Option("--format", help="`dataset`: for `datasets.load_from_disk`."),
        ] = "jsonl",
        output: Annotated[
            Path | None, typer.Option(help="The folder to write; default: exports/EXPERIMENT-KIND in the home folder.")
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Replace an earlier export in that folder.")
        ] = False,
        tool: Annotated[
            Literal["trl", "argilla"], typer.Option("--for", help="TRL's forms, or Argilla's records (rankings).")
        ] = "trl",
        min_preference: Annotated[
            float | None,
            typer.Option(
                min=0.5,
                max=1.0,
                help="Export pairs on which at least this share of the verdicts agrees; default: "
                "training.min_preference.",
            ),
        ] = None,
        form: Annotated[
            Literal["prompt-completion", "messages"], typer.Option(help="The form of sft rows.")
        ] = "prompt-completion",
    ) -> None:
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

    return export


for each_kind in get_args(Kind):
    app.command(each_kind, help=SUMMARIES[each_kind])(data_set_command(each_kind))
