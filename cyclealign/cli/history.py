"""`cyclealign history`: the rounds of experiments, one round in full, failed judge calls."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cyclealign.cli.completion import experiment_names
from cyclealign.cli.console import console, conversation, indented, print_plain, side_by_side
from cyclealign.cli.distill_runs import show_runs
from cyclealign.cli.lazy import new_app, note_old_spelling
from cyclealign.errors import BadConfig
from cyclealign.evaluation.round_report import round_table
from cyclealign.judge import comparison, human_review, template_versions, templates
from cyclealign.store import Store
from cyclealign.text import plain_text

app = new_app()


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
    jobs: Annotated[bool, typer.Option("--jobs", hidden=True)] = False,
) -> None:
    """Show the rounds of experiments: agreement, the judge's accuracy, win rate, cost and verdict."""
    if jobs:
        note_old_spelling("history --jobs", "distill show")
        show_runs(experiment, as_json)
        return
    with Store.open() as store:
        if number is not None or failures:
            show_detail(store, experiment, number, as_json, failures)
        elif as_json:
            print(json.dumps(store.history.summaries(experiment), indent=2, default=str))
        else:
            print_rounds(store, experiment)


def print_rounds(store: Store, experiment: str | None) -> None:
    """Print a table of each experiment's rounds, their notes and their stale labels."""
    names = store.experiments.names(archived=False)
    if experiment:
        names = [store.history.summaries(experiment)[0]["experiment"]]
    if not names:
        console.print("No experiment yet. Start one with `cyclealign demo` or `cyclealign run CONFIG`.")
    for name in names:
        rounds = store.experiments.rounds(name)
        for table in rounds_tables(name, rounds):
            console.print(table)
        for row in rounds:
            for about, words in row["notes"].items():
                print_plain(f"round {row['number']}, {about}: {plain_text(words)}")
        for template in sorted(templates.VARIABLES):
            for words in template_versions.stale_on_disk(store.templates.label_versions(template, name), template):
                print_plain(words)


def rounds_tables(title: str, rounds: list[dict[str, Any]]) -> Iterator[Table]:
    """Yield Rich tables of an experiment's rounds."""
    return side_by_side(f"Experiment {title}", round_table(rounds))


def show_detail(store: Store, experiment: str | None, number: int | None, as_json: bool, failures: bool) -> None:
    """Print one round in full, or the failed calls of an experiment's rounds."""
    if experiment is None:
        raise BadConfig("Name the experiment: `cyclealign history EXPERIMENT --round N`.")
    numbers = [number] if number is not None else [row["number"] for row in store.history.summaries(experiment)]
    details = [with_human_agreement(store.history.detail(experiment, one)) for one in numbers]
    if as_json:
        print(json.dumps(details if number is None else details[0], indent=2, default=str))
    elif failures:
        print_failures(numbers, details)
    else:
        print_detail(details[0])


def with_human_agreement(detail: dict[str, Any]) -> dict[str, Any]:
    """Add the metrics against human rankings, which are not stored: the rankings may come after the round."""
    metrics = [asdict(metric) for metric in human_review.human_agreement(detail["prompts"])]
    return {**detail, "metrics": [*detail["metrics"], *metrics]}


def print_failures(numbers: list[int], details: list[dict[str, Any]]) -> None:
    """Print the judge calls that failed, with the reason."""
    table = Table("round", "purpose", "attempts", "error")
    for number, detail in zip(numbers, details, strict=True):
        for call in detail["failed_calls"]:
            table.add_row(str(number), call["purpose"], str(call["attempts"]), escape(plain_text(str(call["error"]))))
        for call in detail["unreadable_replies"]:
            words = plain_text(f"Unreadable: {call['problem']}")
            table.add_row(str(number), call["purpose"], "1", escape(words))
    console.print(table if table.row_count else "No judge call failed.")


def print_detail(detail: dict[str, Any]) -> None:
    """Print a round: templates, metrics and demonstrations, then each prompt with its answers in the judge's order."""
    summary = detail["summary"]
    console.rule(f"{summary['experiment']}, round {summary['number']}: {summary['verdict'] or 'open'}")
    if summary["reason"]:
        print_plain(plain_text(summary["reason"]))
    for template in detail["templates"]:
        console.print(f"template {template['name']}: version {template['hash'][:12]}")
    for about, words in detail["notes"].items():
        print_plain(f"{about}: {plain_text(words)}")
    for rejudgement in detail["rejudgements"]:
        print_plain(f"rejudged: {plain_text(comparison.summary_line(rejudgement))}")
    shown = detail["demonstrations"]
    console.print(f"demonstrations: {len(shown['in_use'])} in the pool, {len(shown['promoted'])} promoted")
    for metric in detail["metrics"]:
        span = "" if metric["low"] is None else f"  [{metric['low']:.3f}, {metric['high']:.3f}]"
        print_plain(f"{metric['name']}: {metric['value']:.3f}{span} {metric['unit']}")
    if summary["verdict"] and not any(prompt["candidates"] for prompt in detail["prompts"]):
        print_controls(detail["controls"])
        return
    for prompt in detail["prompts"]:
        if prompt["purpose"] == "train":
            print_prompt(prompt)


def print_controls(controls: list[dict[str, Any]]) -> None:
    """Print the controls of a round that they rejected: the question to the judge and its reply."""
    for control in controls:
        print_plain(f"\n> control: {control['control']}")
        console.print(indented("    ", control["asked"]))
        console.print(indented("  reply: ", control["reply"]))


def print_prompt(prompt: dict[str, Any]) -> None:
    """Print a prompt and its answers in the judge's order, with the policy's log-prob.

    Text that a model wrote is indented: at the margin it could pass for a line of this program.
    """
    console.print()
    console.print(conversation("> ", prompt["text"], prompt["turns"]))
    ranked = prompt["rankings"].get("judge", {})
    verdict = ranked.get("order", [])
    place = {candidate: number for number, candidate in enumerate(verdict, 1)}
    for candidate in sorted(prompt["candidates"], key=lambda answer: place.get(answer["id"], 99)):
        rank = place.get(candidate["id"], "-")
        console.print(indented(f"  {rank}. ({candidate['mean_logprob']:.2f}) ", candidate["text"]))
        for flag in candidate["flags"]:
            console.print(indented(f"     flagged: {flag['kind']}: ", flag["excerpt"]))
        for reason in ranked.get("reasons", []):
            if reason["candidate"] == candidate["id"]:
                console.print(indented("     reason: ", reason["reason"]))
    undecided = [pair for pair in ranked.get("preferences", []) if pair["share"] == 0.5]
    for pair in undecided:
        console.print(f"  undecided: {place[pair['better']]} and {place[pair['worse']]}", highlight=False)
    if prompt["unjudged_reason"]:
        console.print(indented("  unjudged: ", prompt["unjudged_reason"]))
    if prompt["set_aside_reason"]:
        console.print(f"  set aside: {prompt['set_aside_reason']}", markup=False)
    if prompt["review"]:
        print_plain(f"  {human_review.review_summary(prompt['review'], place)}")
