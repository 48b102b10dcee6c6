"""`cyclealign prompts`: import and list prompt sets."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign import prompt_import
from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import Moved, OldSpellings, new_app
from cyclealign.store import Store


class Prompts(OldSpellings):
    """The commands of `cyclealign prompts`; up to 0.1 `list` was called `sets`, and `templates` was part of it."""

    @staticmethod
    def moved(args: list[str]) -> Moved | None:
        """Return the replacement of an old spelling; None for a current one."""
        if args[0] == "sets":
            return Moved("prompts sets", "prompts", ["list", *args[1:]])
        return Moved(f"prompts {args[0]}", "templates", args) if args[0] in ("check", "show") else None


app = new_app(cls=Prompts, no_args_is_help=True, help="Import and list prompt sets.")


@app.command("import")
def import_prompts(
    source: Annotated[str, typer.Argument(help="A .jsonl or .jsonl.gz file, or a Hugging Face data set (name:split).")],
    set_name: Annotated[str, typer.Option("--set", help="The prompt set to add to.")],
    held_out_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share held out for evaluation, chosen by hash.")
    ] = 0.1,
) -> None:
    """Import prompts to align on: duplicates once, and the whole file or nothing."""
    imported = prompt_import.read_source(source, held_out_share)
    with Store.open() as store:
        added = store.prompts.add(set_name, imported.prompts, source)
        labelled = store.prompts.add_labelled_lists(set_name, imported.labelled)
    held_out = sum(split == "held_out" for _, split in imported.prompts)
    print_plain(
        f"Set '{set_name}': {added} of {len(imported.prompts)} prompts in {source} added ({held_out} held out); "
        f"{labelled} labelled lists on held-out prompts."
    )


@app.command("list")
def list_sets() -> None:
    """List the prompt sets with their sizes."""
    table = Table("set", "train", "held out", "labelled lists")
    with Store.open() as store:
        for name, train, held_out, labelled in store.prompts.sets():
            table.add_row(escape(name), str(train), str(held_out), str(labelled))
    console.print(table)
