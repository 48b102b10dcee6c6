"""`cyclealign templates`: check and show the judge's templates and the written demonstrations."""

from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadTemplate
from cyclealign.judge import template_versions, templates
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.records import Messages, Template
from cyclealign.store import Store, database_is_there
from cyclealign.text import did_you_mean

Folder = Annotated[Path, typer.Option("--folder", help="The folder of templates.")]

app = new_app(no_args_is_help=True, help="Check and show the judge's templates.")


@app.command()
def check(folder: Folder = Path("prompts")) -> None:
    """Check every template and the written demonstrations, as a round does when it loads them."""
    for name in sorted(templates.VARIABLES):
        template = templates.load_template(folder, name)
        example_messages(template, folder)
        print_plain(f"{folder / name}.jinja: ok, version {template.hash[:12]}")
    count = len(templates.load_demonstrations(folder / "demonstrations.jsonl"))
    print_plain(f"{folder / 'demonstrations.jsonl'}: ok, {count} demonstrations")
    for line in stale_labels(folder):
        print_plain(line)


def stale_labels(folder: Path) -> list[str]:
    """Return a line for each set of stored labels that an earlier version of a template made.

    Where no database exists yet, none is created.
    """
    if not database_is_there():
        return []
    with Store.open() as store:
        return [
            line
            for name in sorted(templates.VARIABLES)
            for line in template_versions.stale_messages(
                template_versions.from_folder(store.templates.label_versions(name), folder),
                templates.load_template(folder, name),
                folder,
            )
        ]


@app.command()
def show(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(templates.VARIABLES))}.")],
    example: Annotated[
        bool, typer.Option("--example", help="Render it with an example, as the judge gets it.")
    ] = False,
    folder: Folder = Path("prompts"),
) -> None:
    """Show a template, or the messages that it renders to."""
    if name not in templates.VARIABLES:
        known = sorted(templates.VARIABLES)
        raise BadTemplate(f"No template '{name}'. There are: {', '.join(known)}.{did_you_mean(name, known)}")
    template = templates.load_template(folder, name)
    if not example:
        print_plain(template.text)
        return
    for message in example_messages(template, folder):
        console.rule(message["role"])
        print_plain(message["content"])


def example_messages(template: Template, folder: Path) -> Messages:
    """Return the messages for a small example with the first two written demonstrations."""
    written = templates.load_demonstrations(folder / "demonstrations.jsonl")[:2]
    spec = PromptSpec(template, "example", (), seed=0)
    answers = {"a": "Boil it for {{ minutes }} minutes, then cool it in cold water.", "b": "No idea."}
    return rank_call(spec, "rank", "example", "How do I boil an egg?", answers, written, 0).messages
