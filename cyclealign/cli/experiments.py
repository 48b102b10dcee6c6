"""`cyclealign experiments`: list, rename, archive, delete and prune experiments."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.config import ExperimentConfig
from cyclealign.errors import BadConfig
from cyclealign.files import checkpoints_folder
from cyclealign.loop import prune as pruning
from cyclealign.loop.lease import hold_experiment, owner_name
from cyclealign.loop.ports import nonce
from cyclealign.store import Store

app = new_app(no_args_is_help=True, help="List, rename, archive, delete and prune experiments.")
Name = Annotated[str, typer.Argument(help="An experiment.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
COUNTED = ("accepted", "rolled_back", "undecided", "abandoned", "open")


@app.command("list")
def list_experiments(
    everything: Annotated[bool, typer.Option("--all", help="Show archived ones, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List experiments with their rounds and the cost of their judges."""
    with Store.open() as store:
        rows = [row for row in store.upkeep.experiments() if everything or row["archived_at"] is None]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("experiment", "rounds", "USD", "created")
    for row in rows:
        name = row["experiment"] + (" (archived)" if row["archived_at"] else "")
        table.add_row(escape(name), counts(row), f"{row['cost_usd']:.4f}", row["created_at"][:10])
    console.print(table if rows else "No experiment yet.")


def counts(row: dict[str, Any]) -> str:
    """Return the rounds of an experiment by verdict, without those that there are none of."""
    return ", ".join(f"{row[name]} {name.replace('_', ' ')}" for name in COUNTED if row[name]) or "none"


@app.command()
def rename(experiment: Name, new_name: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Rename an experiment; its adapters stay where they are. Change the name in its config, too."""
    require_name(new_name)
    with held(experiment) as store:
        store.upkeep.rename(experiment, new_name)
        if (checkpoints := checkpoints_folder(experiment)).is_dir():  # of an open round's training
            checkpoints.replace(checkpoints_folder(new_name))
    print_plain(f"'{experiment}' is now '{new_name}'. Set experiment = \"{new_name}\" in its config.")


@app.command()
def archive(experiment: Name) -> None:
    """Hide an experiment from lists; it takes no new round."""
    with held(experiment) as store:
        store.upkeep.archive(experiment, archived=True)
    print_plain(f"'{experiment}' is archived. To undo: cyclealign experiments unarchive {experiment}")


@app.command()
def unarchive(experiment: Name) -> None:
    """Show an archived experiment again, and allow new rounds."""
    with held(experiment) as store:
        store.upkeep.archive(experiment, archived=False)
    print_plain(f"'{experiment}' is active again.")


@app.command()
def delete(experiment: Name, yes: Yes = False) -> None:
    """Delete all rounds, answers, replies and weights of an experiment. This cannot be undone."""
    with held(experiment) as store:
        (row,) = [row for row in store.upkeep.experiments() if row["experiment"] == experiment]
        print_plain(f"'{experiment}': {row['rounds']} rounds, replies for {row['cost_usd']:.4f} USD, and all weights.")
        if not yes:
            typer.confirm("Delete everything? This cannot be undone", abort=True)
        mine = store.upkeep.adapters(experiment) + store.upkeep.adapters(experiment, needed=False)
        paths = [Path(adapter.path) for adapter in mine]
        store.upkeep.delete(experiment)
        kept = store.upkeep.adapter_paths()  # of other experiments
        pruning.delete_weights(experiment, [path for path in paths if path not in kept])
    print_plain(f"'{experiment}' is deleted.")


@app.command()
def prune(experiment: Name, yes: Yes = False) -> None:
    """Show the weights that no accepted round needs, with their sizes, and delete them; the history stays."""
    with held(experiment) as store:
        folders = pruning.prunable(store, experiment)
        for each in folders:
            print_plain(f"{megabytes(each.size)}  {each.path}: {each.reason}")
        if not folders:
            print_plain("Nothing to prune: every folder belongs to an accepted or open round.")
            return
        total = megabytes(sum(each.size for each in folders))
        if not yes:
            typer.confirm(f"Delete these {len(folders)} folders ({total})?", abort=True)
        pruning.prune(store, folders)
    print_plain(f"Deleted {len(folders)} folders ({total}).")


@contextmanager
def held(experiment: str) -> Iterator[Store]:
    """Open the store and hold the experiment, so that no run advances it meanwhile.

    Raises:
        NoSuchExperiment: there is no such experiment.
        ExperimentBusy: a run is advancing it.
    """
    with Store.open() as store:
        store.experiments.require(experiment)
        with hold_experiment(store, experiment, owner_name(nonce()), "cyclealign experiments"):
            yield store


def require_name(name: str) -> None:
    """Raise BadConfig if the name could not be that of an experiment."""
    marks = ExperimentConfig.model_fields["experiment"].metadata
    pattern = next(mark.pattern for mark in marks if getattr(mark, "pattern", None))
    if not re.fullmatch(pattern, name):
        raise BadConfig(f"'{name}' cannot be the name of an experiment: letters, digits, '.', '_' and '-', at most 64.")


def megabytes(size: int) -> str:
    """Return a size in bytes as text, in MB."""
    return f"{size / 1e6:,.1f} MB"
