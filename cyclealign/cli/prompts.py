"""Commands on prompts, templates and the history."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cyclealign import prompt_import
from cyclealign.cli.console import console
from cyclealign.cli.history import history
from cyclealign.errors import BadTemplate
from cyclealign.judge import template_versions, templates
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.records import Messages, Template
from cyclealign.store import Store, database_is_there

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
prompts = typer.Typer(no_args_is_help=True, help="Prompts to align on, and the judge's templates.")
app.add_typer(prompts, name="prompts")
app.command("history")(history)

Folder = Annotated[Path, typer.Option("--folder", help="The folder of templates.")]


@app.callback()
def cyclealign() -> None:
    """Align a language model with human preferences by iterative distillation from a black-box judge."""


@prompts.command("import")
def import_prompts(
    source: Annotated[str, typer.Argument(help="A .jsonl or .jsonl.gz file, or a Hugging Face data set (name:split).")],
    set_name: Annotated[str, typer.Option("--set", help="The prompt set to add to.")],
    held_out_share: Annotated[float, typer.Option(min=0.0, max=0.9, help="Held out for evaluation, by hash.")] = 0.1,
) -> None:
    """Import prompts to align on; equal ones once, all of the file or nothing."""
    found = prompt_import.read_source(source, held_out_share)
    with Store.open() as store:
        added = store.prompts.add(set_name, found.prompts, source)
        labelled = store.prompts.add_labelled_lists(set_name, found.labelled)
    held_out = sum(split == "held_out" for _, split in found.prompts)
    console.print(
        f"Set '{set_name}': {added} prompts added of {len(found.prompts)} in {source} ({held_out} of them held out); "
        f"{labelled} labelled lists on held-out prompts."
    )


@prompts.command("sets")
def prompt_sets() -> None:
    """List the prompt sets."""
    table = Table("set", "train", "held out", "labelled lists")
    with Store.open() as store:
        for name, train, held_out, labelled in store.prompts.sets():
            table.add_row(name, str(train), str(held_out), str(labelled))
    console.print(table)


@prompts.command("check")
def check(folder: Folder = Path("prompts")) -> None:
    """Check every template and the written demonstrations, as a round would on loading them."""
    for name in sorted(templates.VARIABLES):
        template = templates.load_template(folder, name)
        example_messages(template, folder)
        console.print(f"{folder / name}.jinja: fine, version {template.hash[:12]}")
    count = len(templates.load_demonstrations(folder / "demonstrations.jsonl"))
    console.print(f"{folder / 'demonstrations.jsonl'}: fine, {count} demonstrations")
    for words in stale_in_store(folder):
        console.print(words, markup=False, highlight=False)


def stale_in_store(folder: Path) -> list[str]:
    """What labels in the database other versions of this folder's templates made; a database is not made for it."""
    if not database_is_there():
        return []
    with Store.open() as store:
        return [
            words
            for name in sorted(templates.VARIABLES)
            for words in template_versions.stale_messages(
                template_versions.from_folder(store.templates.label_versions(name), folder),
                templates.load_template(folder, name),
                folder,
            )
        ]


@prompts.command("show")
def show(
    name: str,
    example: Annotated[
        bool, typer.Option("--example", help="Rendered with an example, as the judge would get it.")
    ] = False,
    folder: Folder = Path("prompts"),
) -> None:
    """Show a template, or what it renders to."""
    if name not in templates.VARIABLES:
        raise BadTemplate(f"No template '{name}'. There are: {', '.join(sorted(templates.VARIABLES))}.")
    template = templates.load_template(folder, name)
    if not example:
        console.print(template.text, markup=False, highlight=False)
        return
    for message in example_messages(template, folder):
        console.rule(message["role"])
        console.print(message["content"], markup=False, highlight=False)


def example_messages(template: Template, folder: Path) -> Messages:
    """What the judge would get for a small example with the first two written demonstrations."""
    written = templates.load_demonstrations(folder / "demonstrations.jsonl")[:2]
    spec = PromptSpec(template, "example", (), seed=0)
    texts = {"a": "Boil it for {{ minutes }} minutes, then cool it in cold water.", "b": "No idea."}
    return rank_call(spec, "rank", "example", "How do I boil an egg?", texts, written, 0).messages
