"""`cyclealign db`: copy, check and back up the database."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import ExperimentBusy, StoreError
from cyclealign.files import adapters_folder
from cyclealign.loop.check_database import check_database
from cyclealign.store import Store, database_url
from cyclealign.store.database import name_of, parse_url
from cyclealign.store.transfer import Content, back_up, copy_rows

app = new_app(no_args_is_help=True, help="Copy, check and back up the database.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="A URL, or an SQLite file.")],
    target: Annotated[str, typer.Argument(help="A URL, or an SQLite file: a new or empty database.")],
    as_json: AsJson = False,
) -> None:
    """Copy everything to an empty database, from SQLite to PostgreSQL or back, and compare both."""
    source_url, target_url = url_of(source), url_of(target)
    require_there(source_url)
    with Store.open(source_url) as reading:
        require_idle(reading)
        with Store.open(target_url) as writing:
            copied = copy_rows(reading.engine, writing.engine, report_table if not as_json else lambda name, rows: None)
    if as_json:
        print(json.dumps({name: content._asdict() for name, content in copied.items()}, indent=2))
        return
    name = name_of(parse_url(target_url))
    print_plain(f"Copied {total(copied):,} rows to {name}; counts and hashes of all tables are equal.")
    print_plain("To use it, set CYCLEALIGN_DATABASE_URL. Weights stay in the home folder.")


@app.command()
def check(as_json: AsJson = False) -> None:
    """Check file, foreign keys, content hashes, adapters and probes; exit code 1 if something is damaged."""
    require_there(database_url())
    with Store.open() as store:
        checks = list(check_database(store))
    if as_json:
        rows = [{"subject": each.subject, "checked": each.checked, "problems": each.problems} for each in checks]
        print(json.dumps(rows, indent=2))
    else:
        for each in checks:
            console.print("damaged" if each.problems else "ok", style="red" if each.problems else "green", end="  ")
            print_plain(f"{each.subject}: {'; '.join(each.problems) or f'{each.checked:,} checked'}")
    if any(each.problems for each in checks):
        raise typer.Exit(1)


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write all rows to an SQLite file, also while runs are at work. Weights are not part of it."""
    if target.exists():
        raise StoreError(f"{target} exists already. Name a new file.")
    require_there(database_url())
    with Store.open() as store:
        back_up(store.engine, target)
    print_plain(f"Backed up to {target}. To restore it: cyclealign db copy {target} NEW_DATABASE")
    print_plain(f"Weights are not part of it: copy {adapters_folder()} as well.")


def url_of(name: str) -> str:
    """Return the URL of a database that is given by its URL or by the path of its file."""
    return name if "://" in name else f"sqlite:///{Path(name).absolute()}"


def require_there(url: str) -> None:
    """Raise StoreError if an SQLite file does not exist: opening it would create an empty database."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise StoreError(f"There is no database {parsed.database}.")


def require_idle(store: Store) -> None:
    """Raise ExperimentBusy if a run is at work, whose later rows a copy would miss."""
    for experiment in store.experiments.names():
        if (holder := store.leases.holder(experiment)) is not None:
            raise ExperimentBusy(
                f"Run '{holder.run_name}' is advancing experiment '{experiment}', and the copy would miss its later "
                "rows. Wait for its end, or cancel it. `cyclealign db backup` works beside runs."
            )


def report_table(name: str, rows: int) -> None:
    """Print a table that was copied."""
    if rows:
        print_plain(f"{name}: {rows:,}")


def total(copied: dict[str, Content]) -> int:
    """Return the number of all rows."""
    return sum(content.rows for content in copied.values())
