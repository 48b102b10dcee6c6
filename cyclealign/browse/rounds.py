"""Pages of a round: its figures with a page of prompts, and one prompt with everything that was said about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cyclealign.browse.experiments import START, link
from cyclealign.browse.page import Page, Part, address
from cyclealign.errors import NoSuchExperiment
from cyclealign.evaluation.approval_page import approval_lines
from cyclealign.evaluation.metric_table import ROUND_METRICS
from cyclealign.evaluation.round_page import figure_name, names_of
from cyclealign.records import Metric
from cyclealign.store import PromptFilter, Property, Store

Values = dict[str, Any]


def round_link(experiment: str, number: int) -> str:
    """Return the address of a round's page."""
    return f"{link(experiment)}/rounds/{number}"


def prompt_link(experiment: str, number: int, prompt_id: str) -> str:
    """Return the address of a prompt's page."""
    return f"{round_link(experiment, number)}/prompts/{quote(prompt_id, safe='')}"


@dataclass(frozen=True)
class Asked:
    """The prompts of a round that an address asks for."""

    page: int = 1
    limit: int = 20
    only: tuple[Property, ...] = ()
    search: str = ""
    held_out: bool = False

    @property
    def chosen(self) -> PromptFilter:
        """Return the prompts to choose pages from."""
        return PromptFilter("held_out" if self.held_out else "train", self.only, self.search)

    def query(self, page: int) -> list[tuple[str, object]]:
        """Return the query of the same list at another page."""
        kinds: list[tuple[str, object]] = [("only", kind.value) for kind in self.only]
        limit = self.limit if self.limit != Asked.limit else None
        held_out = "true" if self.held_out else None
        return [*kinds, ("search", self.search), ("held_out", held_out), ("limit", limit), ("page", page)]


def round_page(store: Store, experiment: str, number: int, asked: Asked) -> Page:
    """Return a round with a page of its prompts."""
    overview = store.history.overview(experiment, number)
    start = (asked.page - 1) * asked.limit
    prompts, count = store.history.prompts(experiment, number, asked.chosen, asked.limit, start)
    part, here = Part(asked.page, asked.limit, count), round_link(experiment, number)
    values = {
        "round": overview,
        "summary": overview["summary"],
        "approval": approval_lines(overview["approval"]),
        "experiment": experiment,
        "number": number,
        "numbers": [row["number"] for row in store.history.outcomes(experiment)],
        "figures": figures(overview["metrics"]),
        "prompts": [with_places(prompt) for prompt in prompts],
        "part": part,
        "asked": asked,
        "properties": list(Property),
        "before": address(here, asked.query(asked.page - 1)) if asked.page > 1 else None,
        "after": address(here, asked.query(asked.page + 1)) if asked.page < part.pages else None,
    }
    rows = [answer for prompt in prompts for answer in answer_rows(prompt)]
    return Page("round.html", f"{experiment}, round {number}", values, rows, [START, (experiment, link(experiment))])


def figures(metrics: Sequence[Mapping[str, Any]]) -> list[Values]:
    """Return the metrics in the order of their table, each with label, value and meaning.

    ``main``: those that the table of an experiment's rounds has, too.
    """
    measured = {row["name"]: Metric(**row) for row in metrics}
    return [
        {
            "label": figure_name(entry, name),
            "name": name,
            "metric": measured[name],
            "meaning": entry.meaning,
            "main": entry.column is not None,
        }
        for entry in ROUND_METRICS
        for name in names_of(entry, measured)
    ]


def with_places(prompt: Values) -> Values:
    """Add the answers in the judge's order, and the places by each ranking; those without a place come last."""
    last = len(prompt["candidates"]) + 1
    by_judge = sorted(prompt["candidates"], key=lambda answer: (answer["judge_place"] or last, answer["position"]))
    by_policy = sorted(prompt["candidates"], key=lambda answer: (answer["policy_place"] or last, answer["position"]))
    ranked = [answer for answer in by_policy if answer["policy_place"]]
    return {**prompt, "by_judge": by_judge, "by_policy": ranked}


def answer_rows(prompt: Values) -> list[Values]:
    """Return a flat row per answer, with the names of the view ``answers``."""
    of_prompt = {name: prompt[name] for name in ("prompt_id", "prompt", "purpose", "prompt_position", "agreement_tau")}
    return [
        {**of_prompt, **{name: value for name, value in answer.items() if name not in ("id", "text")}}
        for answer in prompt["candidates"]
    ]


def prompt_page(store: Store, experiment: str, number: int, prompt_id: str) -> Page:
    """Return a prompt with its answers, both rankings, the judge's exchanges and the demonstrations it was shown."""
    found = store.history.prompt(experiment, number, prompt_id)
    if found is None:
        raise NoSuchExperiment(f"Round {number} of '{experiment}' has no prompt '{prompt_id}'.")
    exchanges = store.exchanges.about_prompt(experiment, number, prompt_id)
    prompt = with_places(found)
    names = letters([answer["candidate_id"] for answer in prompt["by_judge"]])
    values = {
        "experiment": experiment,
        "number": number,
        "prompt": prompt,
        "names": names,
        "exchanges": [with_names(exchange, names) for exchange in exchanges],
        "reasons": (found["rankings"].get("judge") or {}).get("reasons", []),
        "pairs": (found["rankings"].get("judge") or {}).get("preferences", []),
    }
    above = [START, (experiment, link(experiment)), (f"round {number}", round_link(experiment, number))]
    title = f"Prompt {prompt['prompt_position'] + 1} of {experiment}, round {number}"
    return Page("prompt.html", title, values, exchanges, above)


def letters(candidate_ids: Sequence[str]) -> dict[str, str]:
    """Return a short name for each answer on the page: A, B and so on, then by number."""
    return {one: chr(65 + place) if place < 26 else str(place + 1) for place, one in enumerate(candidate_ids)}


def with_names(exchange: Values, names: Mapping[str, str]) -> Values:
    """Add the name on the page of each answer that the judge saw, by its label in the request."""
    labels = [(label, names.get(item, "")) for label, item in exchange["shown"]]
    return {**exchange, "labels": [(label, name) for label, name in labels if name]}
