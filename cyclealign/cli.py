"""The commands that need no flow: prompts, templates, history. `flows.cli` adds those that run something."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cyclealign import judging, prompting, rejudging, reviewing, sources, staleness
from cyclealign.distill.outcome import Measure
from cyclealign.distill.report import cell, measure_table
from cyclealign.errors import BadConfig, BadTemplate
from cyclealign.hostile import plain_text
from cyclealign.records import Messages, Template
from cyclealign.report import round_table
from cyclealign.store import Store, database_is_there

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
prompts = typer.Typer(no_args_is_help=True, help="Prompts to align on, and the judge's templates.")
app.add_typer(prompts, name="prompts")
console = Console()
COLUMNS_ABREAST = 3
COLUMNS_AT_MOST = 5

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
    found = sources.read_source(source, held_out_share)
    with Store.open() as store:
        added = store.add_prompts(set_name, found.prompts, source)
        labelled = store.add_labelled(set_name, found.labelled)
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
        for name, train, held_out, labelled in store.prompt_sets():
            table.add_row(name, str(train), str(held_out), str(labelled))
    console.print(table)


@prompts.command("check")
def check(folder: Folder = Path("prompts")) -> None:
    """Check every template and the written demonstrations, as a round would on loading them."""
    for name in sorted(prompting.VARIABLES):
        template = prompting.load_template(folder, name)
        example_messages(template, folder)
        console.print(f"{folder / name}.jinja: fine, version {template.hash[:12]}")
    count = len(prompting.load_demonstrations(folder / "demonstrations.jsonl"))
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
            for name in sorted(prompting.VARIABLES)
            for words in staleness.stale(
                staleness.of_folder(store.label_versions(name), folder), prompting.load_template(folder, name), folder
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
    if name not in prompting.VARIABLES:
        raise BadTemplate(f"No template '{name}'. There are: {', '.join(sorted(prompting.VARIABLES))}.")
    template = prompting.load_template(folder, name)
    if not example:
        console.print(template.text, markup=False, highlight=False)
        return
    for message in example_messages(template, folder):
        console.rule(message["role"])
        console.print(message["content"], markup=False, highlight=False)


def example_messages(template: Template, folder: Path) -> Messages:
    """What the judge would get for a small example with the first two written demonstrations."""
    written = prompting.load_demonstrations(folder / "demonstrations.jsonl")[:2]
    manner = judging.Manner(template, "example", (), seed=0)
    texts = {"a": "Boil it for {{ minutes }} minutes, then cool it in cold water.", "b": "No idea."}
    return judging.rank_call(manner, "rank", "example", "How do I boil an egg?", texts, written, 0).messages


@app.command()
def history(
    experiment: Annotated[str | None, typer.Argument(help="One experiment; all where absent.")] = None,
    number: Annotated[int | None, typer.Option("--round", help="One round in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="The judge calls that failed or could not be read.")
    ] = False,
    jobs: Annotated[bool, typer.Option("--jobs", help="The runs of the distillation jobs instead.")] = False,
) -> None:
    """Show what every round did: agreement, judge's accuracy, win rate, cost. Or what the distillation jobs found."""
    with Store.open() as store:
        if jobs:
            show_jobs(store, experiment, as_json)
            return
        if number is not None or failures:
            show_detail(store, experiment, number, as_json, failures)
        elif as_json:
            print(json.dumps(store.history(experiment), indent=2, default=str))
        else:
            print_rounds(store, experiment)


def print_rounds(store: Store, experiment: str | None) -> None:
    """The rounds of each experiment as a table."""
    names = [store.history(experiment)[0]["experiment"]] if experiment else store.experiments()
    if not names:
        console.print("No experiment yet. Start one with `cyclealign demo` or `cyclealign run CONFIG`.")
    for name in names:
        rounds = store.rounds(name)
        for table in rounds_tables(name, rounds):
            console.print(table)
        for row in rounds:
            for about, words in row["notes"].items():
                console.print(f"round {row['number']}, {about}: {plain_text(words)}", markup=False, highlight=False)
        for template in sorted(prompting.VARIABLES):
            for words in staleness.stale_by_now(store.label_versions(template, name), template):
                console.print(words, markup=False, highlight=False)


def rounds_tables(title: str, rounds: list[dict[str, Any]]) -> Iterator[Table]:
    """Rich tables of an experiment's rounds."""
    return abreast(f"Experiment {title}", round_table(rounds))


def abreast(title: str, rows: Sequence[Mapping[str, str]]) -> Iterator[Table]:
    """Rich tables with a column a row, headed by its first cell, a few abreast, so that they fit a terminal."""
    for start in range(0, len(rows), COLUMNS_ABREAST):
        some = rows[start : start + COLUMNS_ABREAST]
        head, *names = some[0]
        table = Table(title=title, title_justify="left")
        table.add_column(head)
        for row in some:
            table.add_column(escape(row[head]), justify="right")
        for name in names:
            table.add_row(name, *[escape(row[name]) for row in some])
        yield table


def show_detail(store: Store, experiment: str | None, number: int | None, as_json: bool, failures: bool) -> None:
    """One round in full, or the failed calls of an experiment's rounds."""
    if experiment is None:
        raise BadConfig("Name the experiment: `cyclealign history EXPERIMENT --round N`.")
    numbers = [number] if number is not None else [row["number"] for row in store.history(experiment)]
    details = [with_people(store.round_detail(experiment, each)) for each in numbers]
    if as_json:
        print(json.dumps(details if number is None else details[0], indent=2, default=str))
    elif failures:
        print_failures(numbers, details)
    else:
        print_detail(details[0])


def with_people(detail: dict[str, Any]) -> dict[str, Any]:
    """The same with the metrics that rest on people's verdicts: they may come after the round, so none is stored."""
    found = [asdict(each) for each in reviewing.against_people(detail["prompts"])]
    return {**detail, "metrics": [*detail["metrics"], *found]}


def show_jobs(store: Store, job: str | None, as_json: bool) -> None:
    """The runs of the distillation jobs, of one job or of all."""
    runs = store.distillations(job)
    if as_json:
        print(json.dumps(runs, indent=2, default=str))
        return
    for run in runs:
        print_job(run)
    if not runs:
        console.print("No distillation job has run yet: try [cyan]cyclealign distill pld --demo[/].")


def print_job(run: dict[str, Any]) -> None:
    """One run of a job: its measures, a row an arm."""
    state = f"finished {run['finished_at'][:16]}" if run["finished_at"] else "not finished: the same command goes on"
    console.print(
        f"{run['job']}, run {run['id']}, seed {run['seed']}, {run['seconds']:.0f} s: {state}", highlight=False
    )
    measures = [Measure(**each) for each in run["measures"]]
    if measures:
        console.print(measures_shown(measures))
    if run["student_path"]:
        console.print(f"student: {run['student_path']} ({run['student_hash'][:12]})", markup=False, highlight=False)


def measures_shown(measures: Sequence[Measure]) -> Table:
    """A row an arm and a column a measure, as far as a terminal has the width for it; else a row a measure."""
    rows = measure_table(measures)
    if len(rows[0]) <= COLUMNS_AT_MOST:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*row.values())
        return table
    table = Table("arm", "measure", "value")
    for arm, *_ in (row.values() for row in rows):
        for number, each in enumerate(each for each in measures if each.arm == arm):
            table.add_row("" if number else arm, each.name, cell(each))
    return table


def print_failures(numbers: list[int], details: list[dict[str, Any]]) -> None:
    """The judge calls that failed, with the reason."""
    table = Table("round", "purpose", "attempts", "error")
    for number, detail in zip(numbers, details, strict=True):
        for call in detail["failed_calls"]:
            table.add_row(str(number), call["purpose"], str(call["attempts"]), escape(plain_text(str(call["error"]))))
        for call in detail["unreadable_replies"]:
            words = plain_text(f"Unreadable: {call['problem']}")
            table.add_row(str(number), call["purpose"], "1", escape(words))
    console.print(table if table.row_count else "No judge call failed.")


def print_detail(detail: dict[str, Any]) -> None:
    """A round as a person reads it: what it used, then each prompt with its answers, the judge's best first."""
    summary = detail["summary"]
    console.rule(f"{summary['experiment']}, round {summary['number']}: {summary['verdict'] or 'open'}")
    if summary["reason"]:
        console.print(plain_text(summary["reason"]), markup=False, highlight=False)
    for template in detail["templates"]:
        console.print(f"template {template['name']}: version {template['hash'][:12]}")
    for about, words in detail["notes"].items():
        console.print(f"{about}: {plain_text(words)}", markup=False, highlight=False)
    for each in detail["rejudgements"]:
        console.print(f"rejudged: {plain_text(rejudging.told(each))}", markup=False, highlight=False)
    shown = detail["demonstrations"]
    console.print(f"demonstrations: {len(shown['in_use'])} in the pool, {len(shown['promoted'])} promoted")
    for metric in detail["metrics"]:
        span = "" if metric["low"] is None else f"  [{metric['low']:.3f}, {metric['high']:.3f}]"
        console.print(f"{metric['name']}: {metric['value']:.3f}{span} {metric['unit']}", markup=False, highlight=False)
    if summary["verdict"] and not any(prompt["candidates"] for prompt in detail["prompts"]):
        print_controls(detail["controls"])
        return
    for prompt in detail["prompts"]:
        if prompt["purpose"] == "train":
            print_prompt(prompt)


def print_controls(controls: list[dict[str, Any]]) -> None:
    """What the judge was asked, and replied, in a round that was refused for it."""
    for each in controls:
        console.print(f"\n> control: {each['control']}", markup=False, highlight=False)
        console.print(plain_text(each["asked"]), markup=False, highlight=False)
        console.print(f"  reply: {plain_text(each['reply'])}", markup=False, highlight=False)


def print_prompt(prompt: dict[str, Any]) -> None:
    """One prompt: its answers in the judge's order, with the policy's log-prob. Model text is printed as text."""
    console.print(f"\n> {plain_text(prompt['text'])}", markup=False, highlight=False)
    ranked = prompt["rankings"].get("judge", {})
    verdict = ranked.get("order", [])
    place = {candidate: number for number, candidate in enumerate(verdict, 1)}
    for candidate in sorted(prompt["candidates"], key=lambda each: place.get(each["id"], 99)):
        rank = place.get(candidate["id"], "-")
        words = plain_text(candidate["text"])
        console.print(f"  {rank}. ({candidate['mean_logprob']:.2f}) {words}", markup=False, highlight=False)
        for flag in candidate["flags"]:
            console.print(f"     flagged: {flag['kind']}: {flag['excerpt']}", markup=False, highlight=False)
        for each in ranked.get("reasons", []):
            if each["candidate"] == candidate["id"]:
                console.print(f"     reason: {plain_text(each['reason'])}", markup=False, highlight=False)
    undecided = [pair for pair in ranked.get("preferences", []) if pair["share"] == 0.5]
    for pair in undecided:
        console.print(f"  undecided: {place[pair['better']]} and {place[pair['worse']]}", highlight=False)
    if prompt["unjudged_reason"]:
        console.print(f"  unjudged: {plain_text(prompt['unjudged_reason'])}", markup=False, highlight=False)
    if prompt["set_aside_reason"]:
        console.print(f"  set aside: {prompt['set_aside_reason']}", markup=False)
    if prompt["review"]:
        console.print(f"  {reviewing.said_of(prompt['review'], place)}", markup=False, highlight=False)
