"""`cyclealign templates`: check, keep and show the judge's templates and the written demonstrations."""

from pathlib import Path
from typing import Annotated

import typer

from cyclealign.cli.console import console, print_plain
from cyclealign.cli.lazy import new_app
from cyclealign.errors import BadTemplate
from cyclealign.judge import template_versions, templates
from cyclealign.judge.requests import PromptSpec, rank_call
from cyclealign.loop.template_choice import TEMPLATES, choose_template
from cyclealign.records import Messages, Template
from cyclealign.store import Store, database_is_there
from cyclealign.text import did_you_mean

Folder = Annotated[Path, typer.Option("--folder", help="The folder of templates.")]

CONVERSATION: Messages = (
    {"role": "user", "content": "I am hungry."},
    {"role": "assistant", "content": "Would you like an egg?"},
    {"role": "user", "content": "Yes. How do I boil it?"},
)
app = new_app(no_args_is_help=True, help="Check, keep and show the judge's templates.")


@app.command()
def check(folder: Folder = Path("prompts")) -> None:
    """Check every template and the written demonstrations, as a round does when it loads them."""
    for name in sorted(templates.VARIABLES):
        template = templates.load_template(folder, name)
        example_messages(template, folder)
        conversation = example_messages(template, folder, CONVERSATION)
        print_plain(f"{folder / name}.jinja: ok, version {template.hash[:12]}")
        print_plain(turns_line(template, conversation))
    count = len(templates.load_demonstrations(folder / "demonstrations.jsonl"))
    print_plain(f"{folder / 'demonstrations.jsonl'}: ok, {count} demonstrations")
    for line in (*stale_labels(folder), *rolled_back_edits(folder)):
        print_plain(line)


def turns_line(template: Template, conversation: Messages) -> str:
    """Return a line on how the judge is shown the turns of a conversation."""
    if "turns" not in templates.used_variables(template):
        return "  conversations: each turn between marks with the code of the request, as part of `question`"
    shown = "".join(message["content"] for message in conversation)
    missing = [turn["role"] for turn in CONVERSATION if turn["content"] not in shown]
    if missing:
        raise BadTemplate(f"{template.name}.jinja: `turns` leaves out turns of a conversation ({', '.join(missing)}).")
    return "  conversations: the template lays out `turns` itself; keep {{ fence }} in the marks around each"


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


def rolled_back_edits(folder: Path) -> list[str]:
    """Return a line for each experiment whose next round concerns an edit that a rolled-back round used."""
    if not database_is_there():
        return []
    with Store.open() as store:
        return [
            notice
            for name in TEMPLATES
            for experiment in experiments_of(store, name, folder)
            if (notice := choose_template(store, experiment, folder, name).notice)
        ]


def experiments_of(store: Store, name: str, folder: Path) -> list[str]:
    """Return the experiments whose last round took its templates from this folder."""
    labels = template_versions.from_folder(store.templates.label_versions(name), folder)
    return list(dict.fromkeys(label.experiment for label in labels))


@app.command()
def keep(
    experiment: Annotated[str, typer.Option(help="The experiment whose next rounds use it.")],
    name: Annotated[
        str | None, typer.Argument(help=f"One of: {', '.join(sorted(templates.VARIABLES))}; default: all.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The folder of templates; default: that of the experiment's last round.")
    ] = None,
) -> None:
    """Keep a template as it is now, although a rolled-back round used this version."""
    if name is not None:
        require_name(name)
    with Store.open() as store:
        store.experiments.require(experiment)
        for each in TEMPLATES if name is None else (name,):
            keep_version(store, experiment, each, folder or folder_of(store, experiment, each))


def keep_version(store: Store, experiment: str, name: str, folder: Path) -> None:
    """Record that the experiment uses the file's version of a template from now on."""
    template = templates.load_template(folder, name)
    about = f"{folder / name}.jinja, version {template.hash[:12]}"
    if template.hash not in store.templates.rolled_back(experiment, name):
        print_plain(f"{about}: no rolled-back round of '{experiment}' used it, so the next round uses it anyway.")
        return
    store.templates.keep(experiment, template)
    print_plain(f"{about}, is kept: the next rounds of '{experiment}' use it.")


def folder_of(store: Store, experiment: str, name: str) -> Path:
    """Return the folder from which the experiment's last judged round took its templates."""
    labels = store.templates.label_versions(name, experiment)
    return Path(labels[-1].folder if labels else "prompts")


def require_name(name: str) -> None:
    """Raise BadTemplate, with the known names, if there is no such template."""
    if name not in templates.VARIABLES:
        known = sorted(templates.VARIABLES)
        raise BadTemplate(f"No template '{name}'. There are: {', '.join(known)}.{did_you_mean(name, known)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(templates.VARIABLES))}.")],
    example: Annotated[
        bool, typer.Option("--example", help="Render it with an example, as the judge gets it.")
    ] = False,
    folder: Folder = Path("prompts"),
) -> None:
    """Show a template, or the messages that it renders to."""
    require_name(name)
    template = templates.load_template(folder, name)
    if not example:
        print_plain(template.text)
        return
    for message in example_messages(template, folder):
        console.rule(message["role"])
        print_plain(message["content"])
    console.rule("user, for a conversation of several turns")
    print_plain(example_messages(template, folder, CONVERSATION)[-1]["content"])


def example_messages(template: Template, folder: Path, turns: Messages = ()) -> Messages:
    """Return the messages for a small example with the first two written demonstrations."""
    written = templates.load_demonstrations(folder / "demonstrations.jsonl")[:2]
    spec = PromptSpec(template, "example", (), seed=0)
    answers = {"a": "Boil it for {{ minutes }} minutes, then cool it in cold water.", "b": "No idea."}
    return rank_call(spec, "rank", "example", "How do I boil an egg?", answers, written, 0, turns=turns).messages
