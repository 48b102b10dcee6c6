"""One round of `cyclealign history`: its figures, and its prompts a page at a time."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any, NamedTuple

from cyclealign.cli.console import console, conversation, indented, print_plain
from cyclealign.errors import BadConfig
from cyclealign.evaluation.approval_page import approval_lines
from cyclealign.evaluation.metric_table import ROUND_METRICS, find_metric
from cyclealign.evaluation.round_page import figure_name
from cyclealign.evaluation.training_figures import step_lines
from cyclealign.judge import comparison, human_review
from cyclealign.store import PromptFilter, Property, Store
from cyclealign.text import plain_text

PER_PAGE = 20
Values = dict[str, Any]


class PageRequest(NamedTuple):
    """The prompts of a round that the command line asks for."""

    page: int | None = None
    limit: int | None = None
    only: tuple[Property, ...] = ()
    search: str = ""
    held_out: bool = False

    @property
    def given(self) -> bool:
        """Return whether any option was given."""
        return self != PageRequest()

    @property
    def chosen(self) -> PromptFilter:
        """Return the prompts to choose pages from."""
        return PromptFilter("held_out" if self.held_out else "train", self.only, self.search)

    @property
    def options(self) -> str:
        """Return the options as they are typed, without the page."""
        kinds = [f"--only {kind}" for kind in self.only]
        search = [f"--search {shlex.quote(self.search)}"] if self.search else []
        limit = [f"--limit {self.limit}"] if self.limit else []
        return " ".join([*kinds, *search, *(["--held-out"] if self.held_out else []), *limit])


def show_round(store: Store, experiment: str, number: int, asked: PageRequest, as_json: bool) -> None:
    """Print a round and a page of its prompts; as JSON all of its prompts, unless some are asked for."""
    if as_json and not asked.given:
        whole = store.history.detail(experiment, number)
        print(json.dumps(with_human_agreement(store, whole), indent=2, default=str))
        return
    overview = with_human_agreement(store, store.history.overview(experiment, number))
    page, limit = asked.page or 1, asked.limit or PER_PAGE
    prompts, count = store.history.prompts(experiment, number, asked.chosen, limit, (page - 1) * limit)
    if page > max(1, ceil(count / limit)):
        raise BadConfig(f"There is no page {page}: {count} prompts make {ceil(count / limit)} pages of {limit}.")
    if as_json:
        place = {"number": page, "limit": limit, "prompts": count, "pages": ceil(count / limit)}
        print(json.dumps({**overview, "prompts": prompts, "page": place}, indent=2, default=str))
        return
    print_overview(overview)
    if overview["summary"]["verdict"] and not overview["summary"]["answers"]:
        print_controls(overview["controls"])
        return
    for prompt in prompts:
        print_prompt(prompt)
    print_page_line(experiment, number, asked, count)


def print_page_line(experiment: str, number: int, asked: PageRequest, count: int) -> None:
    """Print which prompts of how many were shown, and the command that shows the next ones."""
    page, limit = asked.page or 1, asked.limit or PER_PAGE
    kind = " ".join([*asked.only, "held-out" if asked.held_out else "training"])
    found = f" with '{asked.search}'" if asked.search else ""
    console.print()
    if not count:
        print_plain(plain_text(f"No {kind} prompts{found}."))
        return
    first, last = (page - 1) * limit + 1, min(page * limit, count)
    print_plain(plain_text(f"Prompts {first} to {last} of {count} {kind} prompts{found}."))
    if last < count:
        command = f"cyclealign history {shlex.quote(experiment)} --round {number}"
        more = " ".join(filter(None, [command, asked.options, f"--page {page + 1}"]))
        # Broken by the terminal alone, so that the command can be copied.
        console.print(plain_text(f"More: {more}"), markup=False, highlight=False, soft_wrap=True)


def with_human_agreement(store: Store, detail: Values) -> Values:
    """Add the metrics against human rankings, which are not stored: the rankings may come after the round."""
    summary = detail["summary"]
    reviewed, _ = store.history.prompts(
        summary["experiment"], summary["number"], PromptFilter(None, (Property.REVIEWED,))
    )
    metrics = [asdict(metric) for metric in human_review.human_agreement(reviewed)]
    return {**detail, "metrics": [*detail["metrics"], *metrics]}


def print_overview(detail: Mapping[str, Any]) -> None:
    """Print a round without its prompts: verdict, templates, notes, demonstrations and metrics."""
    summary = detail["summary"]
    console.rule(f"{summary['experiment']}, round {summary['number']}: {summary['verdict'] or 'open'}")
    if summary["reason"]:
        print_plain(plain_text(summary["reason"]))
    for line in approval_lines(detail["approval"]):
        print_plain(plain_text(line))
    for template in detail["templates"]:
        console.print(f"template {template['name']}: version {template['template_hash'][:12]}")
    for about, words in detail["notes"].items():
        print_plain(f"{about}: {plain_text(words)}")
    for rejudgement in detail["rejudgements"]:
        print_plain(f"rejudged: {plain_text(comparison.summary_line(rejudgement))}")
    shown = detail["demonstrations"]
    console.print(f"demonstrations: {len(shown['in_use'])} in the pool, {len(shown['promoted'])} promoted")
    print_metrics(detail["metrics"])
    for line in step_lines(detail["training_steps"]):
        print_plain(line)


def print_metrics(metrics: Sequence[Mapping[str, Any]]) -> None:
    """Print metrics in the order of their table, each with label, name, value, 95 % interval and meaning."""
    order = {name: place for place, name in enumerate(names_in_order([metric["name"] for metric in metrics]))}
    for metric in sorted(metrics, key=lambda metric: order[metric["name"]]):
        name, entry = metric["name"], find_metric(metric["name"])
        span = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
        label = f"{figure_name(entry, name)} ({name})" if entry else name
        print_plain(f"{label}: {metric['value']:.3f}{span} {metric['unit']}".rstrip())
        if entry and not entry.family:
            console.print(indented("    ", entry.meaning), style="dim")


def names_in_order(names: Sequence[str]) -> list[str]:
    """Return names of metrics in the order of the table; those that it does not have come last."""
    known = [name for metric in ROUND_METRICS for name in sorted(names) if find_metric(name) == metric]
    return [*known, *sorted(set(names) - set(known))]


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
    console.print(conversation("> ", prompt["prompt"], prompt["turns"]))
    ranked = prompt["rankings"].get("judge", {})
    verdict = ranked.get("order", [])
    place = {candidate: number for number, candidate in enumerate(verdict, 1)}
    for candidate in sorted(prompt["candidates"], key=lambda answer: place.get(answer["candidate_id"], 99)):
        rank = place.get(candidate["candidate_id"], "-")
        console.print(indented(f"  {rank}. ({candidate['mean_logprob']:.2f}) ", candidate["answer"]))
        for flag in candidate["flags"]:
            console.print(indented(f"     flagged: {flag['kind']}: ", flag["excerpt"]))
        for reason in ranked.get("reasons", []):
            if reason["candidate"] == candidate["candidate_id"]:
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
