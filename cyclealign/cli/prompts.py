"""`cyclealign prompts`: import, list and show prompt sets."""

import json
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign import prompt_import
from cyclealign.cli.console import console, indented, print_plain
from cyclealign.cli.lazy import Moved, OldSpellings, new_app
from cyclealign.errors import BadConfig
from cyclealign.prompt_import import Imported
from cyclealign.records import LabelledList, Prompt, turn_text
from cyclealign.store import Store
from cyclealign.text import plain_text

SHOWN_IN_DRY_RUN = 3
MAX_COLUMNS_NAMED = 12
NEAR_IN_LOGS = 0.85


class Prompts(OldSpellings):
    """The commands of `cyclealign prompts`; up to 0.1 `list` was called `sets`, and `templates` was part of it."""

    @staticmethod
    def moved(args: list[str]) -> Moved | None:
        """Return the replacement of an old spelling; None for a current one.

        `show` with the name of a template is the old command; with another name it shows a set.
        """
        from cyclealign.judge.templates import VARIABLES

        if args[0] == "sets":
            return Moved("prompts sets", "prompts", ["list", *args[1:]])
        old_show = args[0] == "show" and any(name in args for name in VARIABLES)
        return Moved(f"prompts {args[0]}", "templates", args) if args[0] == "check" or old_show else None


app = new_app(cls=Prompts, no_args_is_help=True, help="Import, list and show prompt sets.")


@app.command("import")
def import_prompts(
    source: Annotated[
        str,
        typer.Argument(
            help="A file (.jsonl, .json, .csv, .tsv, .parquet or .txt; text may be .gz), a folder that `datasets` "
            "saved, or a Hugging Face data set (name:split)."
        ),
    ],
    set_name: Annotated[str, typer.Option("--set", help="The prompt set to add to.")],
    held_out_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share held out for evaluation, chosen by hash.")
    ] = 0.1,
    column: Annotated[
        str | None, typer.Option(help="Read this column as the prompt: a text or a list of turns.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used, instead of importing nothing.")
    ] = False,
    hold_out_labelled: Annotated[
        bool,
        typer.Option(
            "--hold-out-labelled",
            help="Hold out every prompt with ranked answers; otherwise the labelled lists of train prompts are left "
            "out, since the judge is measured only on held-out prompts.",
        ),
    ] = False,
    form: Annotated[
        Literal["rows", "openai-log"],
        typer.Option(
            "--from",
            help="`openai-log`: records of chat requests, also LiteLLM's and Langfuse's exports. Secrets, personal "
            "data and near-duplicates are then removed.",
        ),
    ] = "rows",
    redacted: Annotated[
        bool | None,
        typer.Option(
            "--redact/--no-redact", help="Replace secrets and personal data that rules find; default: in logs."
        ),
    ] = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1.0,
            help="Leave out prompts this similar to an earlier one. 1: keep all but equal ones. Default: 0.85 in logs.",
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of prompts, drawn evenly over clusters of like prompts.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show counts and the first prompts as they would be stored; store nothing."),
    ] = False,
) -> None:
    """Import prompts to align on: duplicates once, and the whole file or nothing."""
    log = form == "openai-log"
    if log and column is not None:
        raise BadConfig("--column names a column of rows; --from openai-log finds the requests itself. Leave one out.")
    imported = prompt_import.read_source(
        source,
        held_out_share,
        column=column,
        skip_bad=skip_bad,
        hold_out_labelled=hold_out_labelled,
        log=log,
        redacted=log if redacted is None else redacted,
    )
    imported = curated(imported, near_duplicates or (NEAR_IN_LOGS if log else 1.0), sample)
    if dry_run:
        show_dry_run(source, imported)
        return
    with Store.open() as store:
        added = store.prompts.add_source(set_name, imported.prompts, imported.labelled, source)
    known, known_lists = len(imported.prompts) - added.prompts, len(imported.labelled) - added.lists
    print_plain(
        f"Set '{set_name}': {added.prompts} prompts added, {known} already there; {counts(imported)}; "
        f"{added.lists} labelled lists added, {known_lists - added.lists_on_train} already there."
    )
    print_remarks(imported, added.lists_on_train)


def curated(imported: Imported, threshold: float, sample: int | None) -> Imported:
    """Return the contents without near-duplicates (a threshold of 1: with them), and a sample of them."""
    from cyclealign.prompt_import.curation import sampled, without_near_duplicates

    if threshold < 1:
        imported = without_near_duplicates(imported, threshold)
    return imported if sample is None else sampled(imported, sample)


def show_dry_run(source: str, imported: Imported) -> None:
    """Print the counts of a source, and its first prompts with their ranked answers."""
    print_plain(
        f"Nothing was stored. {source} has {len(imported.prompts)} prompts; {counts(imported)}; "
        f"{len(imported.labelled)} labelled lists."
    )
    print_remarks(imported)
    lists = {labelled.prompt.id: labelled for labelled in imported.labelled}
    for prompt, split in imported.prompts[:SHOWN_IN_DRY_RUN]:
        console.rule(f"{prompt.id}, {split.replace('_', ' ')}")
        show_prompt(prompt, lists.get(prompt.id))


def counts(imported: Imported) -> str:
    """Return the numbers of rows read and skipped, of repeated prompts, and of held-out prompts."""
    held_out = sum(split == "held_out" for _, split in imported.prompts)
    repeated = imported.rows - imported.skipped - imported.dropped - len(imported.prompts)
    return f"{imported.rows} rows read, {imported.skipped} skipped, {repeated} repeated a prompt, {held_out} held out"


def print_remarks(imported: Imported, lists_on_train: int = 0) -> None:
    """Print the changes to rows, the labelled lists left out, the first bad rows and the columns that were not read."""
    for words, count in sorted(imported.remarks.items()):
        print_plain(plain_text(f"{words}: {count}"))
    if imported.left_out:
        print_plain(
            f"Labelled lists left out, since their prompts are for training: {imported.left_out}. "
            "--hold-out-labelled holds those prompts out."
        )
    if lists_on_train:
        print_plain(f"Labelled lists left out, since the set has their prompts for training: {lists_on_train}.")
    for problem in imported.bad_rows:
        print_plain(plain_text(f"Skipped: {problem}"))
    if imported.skipped > len(imported.bad_rows):
        print_plain(f"and {imported.skipped - len(imported.bad_rows)} more.")
    if imported.unread:
        more = len(imported.unread) - MAX_COLUMNS_NAMED
        named = ", ".join(imported.unread[:MAX_COLUMNS_NAMED]) + (f" and {more} more" if more > 0 else "")
        print_plain(plain_text(f"Columns not read: {named}."))


def show_prompt(prompt: Prompt, labelled: LabelledList | None = None) -> None:
    """Print a prompt turn by turn, and ranked answers to it; imported text is indented, and never markup."""
    for turn in prompt.messages:
        console.print(indented(f"{turn['role']}: ", turn_text(turn)))
    for place, answer in enumerate(labelled.answers if labelled else (), 1):
        console.print(indented(f"  answer {place}: ", answer))


@app.command("list")
def list_sets(
    experiment: Annotated[
        str | None, typer.Option(help="Count the unused prompts of this experiment; default: those that none used.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the prompt sets with their sizes."""
    with Store.open() as store:
        if experiment is not None:
            store.experiments.require(experiment)
        sets = store.prompts.sets(experiment)
    if as_json:
        print(json.dumps([row._asdict() for row in sets], indent=2))
        return
    table = Table("set", "train", "unused", "held out", "labelled lists")
    for row in sets:
        table.add_row(escape(row.name), str(row.train), str(row.unused), str(row.held_out), str(row.labelled))
    console.print(table if sets else "No prompt set yet. Import one with `cyclealign prompts import FILE --set NAME`.")


@app.command("show")
def show_set(
    set_name: Annotated[str, typer.Argument(help="The prompt set.")],
    split: Annotated[
        Literal["train", "held_out", "labelled"], typer.Option(help="The part of the set to show.")
    ] = "train",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of prompts.")] = 10,
) -> None:
    """Show prompts of a set as they are stored, by id; `labelled`: with their answers, best first."""
    shown: list[tuple[Prompt, LabelledList | None]]
    with Store.open() as store:
        if split == "labelled":
            shown = [(labelled.prompt, labelled) for labelled in store.prompts.labelled_lists(set_name)[:limit]]
        else:
            shown = [(prompt, None) for prompt in store.prompts.first(set_name, split, limit)]
    for prompt, labelled in shown:
        console.rule(prompt.id)
        show_prompt(prompt, labelled)
    if not shown:
        print_plain(f"Set '{set_name}' has no {split.replace('_', '-')} prompts.")
