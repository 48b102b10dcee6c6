"""`cyclealign history`: the rounds of experiments, one round in full, failed judge calls."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, print_plain, side_by_side
from cyclealign.cli.distill_runs import show_runs
from cyclealign.cli.history_round import PER_PAGE, PageRequest, show_round, with_human_agreement
from cyclealign.cli.lazy import new_app, note_old_spelling
from cyclealign.errors import BadConfig
from cyclealign.evaluation.round_report import round_table
from cyclealign.judge import template_versions, templates
from cyclealign.store import Property, Store
from cyclealign.text import plain_text

app = new_app()
MAX_REPLY_SHOWN = 200
LAST_ROUNDS, LAST_OF_ALL = 20, 5  # of one experiment; of each, where all are shown: a wide table takes long to draw
Reason = tuple[int, str, str]  # round, purpose, why the calls failed


@app.command()
def history(
    experiment: Annotated[
        str | None, typer.Argument(help="One experiment; default: all.", autocompletion=experiment_names)
    ] = None,
    number: Annotated[int | None, typer.Option("--round", help="Show one round in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="Show the judge calls that failed or could not be parsed.")
    ] = False,
    page: Annotated[int | None, typer.Option(min=1, help="With --round: page of prompts, from 1.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"With --round: prompts per page; default: {PER_PAGE}.")
    ] = None,
    only: Annotated[
        list[Property] | None,
        typer.Option(help="With --round: only prompts of this kind; several options: of all these kinds."),
    ] = None,
    search: Annotated[
        str, typer.Option(help="With --round: only prompts with this text in the prompt or an answer.")
    ] = "",
    held_out: Annotated[bool, typer.Option("--held-out", help="With --round: the held-out prompts.")] = False,
    last: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Show the last rounds; default: {LAST_ROUNDS} of one experiment, {LAST_OF_ALL} of each of several.",
        ),
    ] = None,
    jobs: Annotated[bool, typer.Option("--jobs", hidden=True)] = False,
) -> None:
    """Show the rounds of experiments: agreement, the judge's accuracy, win rate, cost and verdict.

    `--json` prints the columns of the database's views (docs/database.md); with --round all prompts, unless a page or
    prompts of a kind are asked for.
    """
    if jobs:
        note_old_spelling("history --jobs", "distill show")
        show_runs(experiment, as_json)
        return
    asked = PageRequest(page, limit, tuple(only or ()), search, held_out)
    if asked.given and (number is None or failures):
        raise BadConfig("--page, --limit, --only, --search and --held-out show prompts of one round: add --round N.")
    if last is not None and (number is not None or failures or as_json):
        raise BadConfig(
            "--last shortens the table of rounds. Leave it out, or leave out --round, --failures and --json."
        )
    with Store.open() as store:
        if failures:
            show_failures(store, required(experiment), number, as_json)
        elif number is not None:
            show_round(store, required(experiment), number, asked, as_json)
        elif as_json:
            print(json.dumps(store.history.summaries(experiment), indent=2, default=str))
        else:
            print_rounds(store, experiment, last)


def print_rounds(store: Store, experiment: str | None, last: int | None = None) -> None:
    """Print a table of each experiment's last rounds, their notes and their stale labels."""
    names = store.experiments.names(archived=False)
    if experiment:
        store.experiments.require(experiment)
        names = [experiment]
    if not names:
        console.print("No experiment yet. Start one with `cyclealign demo` or `cyclealign run CONFIG`.")
    for name in names:
        rounds = store.experiments.rounds(name, last or (LAST_ROUNDS if len(names) == 1 else LAST_OF_ALL))
        for table in rounds_tables(name, rounds):
            console.print(table)
        if rounds and rounds[0]["number"] > 1:
            print_plain(f"Rounds {rounds[0]['number']} to {rounds[-1]['number']}; earlier ones: --last N.")
        for row in rounds:
            for about, words in row["notes"].items():
                print_plain(f"round {row['number']}, {about}: {plain_text(words)}")
        for template in sorted(templates.VARIABLES):
            for words in template_versions.stale_on_disk(store.templates.label_versions(template, name), template):
                print_plain(words)


def rounds_tables(title: str, rounds: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield Rich tables of an experiment's rounds."""
    return side_by_side(f"Experiment {title}", round_table(rounds))


def required(experiment: str | None) -> str:
    """Return the experiment; raise BadConfig if none is named."""
    if experiment is None:
        raise BadConfig("Name the experiment: `cyclealign history EXPERIMENT --round N`.")
    return experiment


def show_failures(store: Store, experiment: str, number: int | None, as_json: bool) -> None:
    """Print the failed calls of a round, or of all rounds; as JSON the rounds in full."""
    numbers = [number] if number is not None else [row["number"] for row in store.history.outcomes(experiment)]
    if as_json:
        details = [with_human_agreement(store, store.history.detail(experiment, one)) for one in numbers]
        print(json.dumps(details if number is None else details[0], indent=2, default=str))
        return
    print_failures(numbers, [store.history.overview(experiment, one) for one in numbers])


def print_failures(numbers: list[int], details: list[dict[str, Any]]) -> None:
    """Print the judge calls that failed: a row for each reason, with the number of calls and one of their replies."""
    calls, attempts, replies = Counter[Reason](), Counter[Reason](), dict[Reason, str]()
    for number, detail in zip(numbers, details, strict=True):
        for call in detail["failed_calls"]:
            reason = number, call["purpose"], str(call["error"])
            calls[reason] += 1
            attempts[reason] += call["attempts"]
        for call in detail["unreadable_replies"]:
            reason = number, call["purpose"], f"Unreadable: {call['problem']}"
            calls[reason] += 1
            attempts[reason] += 1
            replies.setdefault(reason, call["reply"] or "")
    table = Table("round", "purpose", "calls", "attempts", "error")
    for reason, count in calls.items():
        number, purpose, words = reason
        if reason in replies:
            words += f" The reply{' to one' if count > 1 else ''}: '{shortened(replies[reason])}'"
        table.add_row(str(number), purpose, f"{count:,}", f"{attempts[reason]:,}", escape(plain_text(words)))
    console.print(table if table.row_count else "No judge call failed.")


def shortened(reply: str) -> str:
    """Return the reply on one line, its end alone if it is long: that is where a judge states its ranking."""
    line = " ".join(reply.split())
    return line if len(line) <= MAX_REPLY_SHOWN else f"... {line[-MAX_REPLY_SHOWN:]}"
