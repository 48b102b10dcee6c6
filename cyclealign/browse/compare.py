"""The page that shows two rounds side by side, of one experiment or of two, on the prompts that both drew."""

import re
from typing import Any

from cyclealign.browse.experiments import START
from cyclealign.browse.page import Page, Part, address
from cyclealign.browse.rounds import figures, with_places
from cyclealign.errors import BadConfig
from cyclealign.store import Store

LIMIT = 10
_ROUND = re.compile(r"(.+):(\d+)")


def parse_round(text: str) -> tuple[str, int]:
    """Return experiment and number of ``NAME:NUMBER``.

    Raises:
        BadConfig: the text has another form.
    """
    found = _ROUND.fullmatch(text)
    if found is None:
        raise BadConfig(f"'{text[:100]}' is no round: write EXPERIMENT:NUMBER, such as demo:3.")
    return found[1], int(found[2])


def compare_page(store: Store, first: str, second: str, number: int) -> Page:
    """Return the figures of two rounds, and a page of the prompts that they share; without rounds, the choice."""
    known = [f"{name}:{row['number']}" for name in store.experiments.names() for row in store.history.outcomes(name)]
    values: dict[str, Any] = {"known": known, "first": first, "second": second, "rounds": None}
    if not (first and second):
        return Page("compare.html", "Compare two rounds", values, (), [START])
    rounds = parse_round(first), parse_round(second)
    overviews = [store.history.overview(*one) for one in rounds]
    pairs, count = store.history.shared_prompts(*rounds, LIMIT, (number - 1) * LIMIT)
    part = Part(number, LIMIT, count)

    def page(to: int) -> str | None:
        asked = [("first", first), ("second", second), ("page", to)]
        return address("/compare", asked) if 1 <= to <= part.pages else None

    values |= {
        "rounds": overviews,
        "figures": side_by_side([figures(overview["metrics"]) for overview in overviews]),
        "pairs": [[with_places(one) for one in pair] for pair in pairs],
        "part": part,
        "before": page(number - 1),
        "after": page(number + 1),
    }
    rows = [{"prompt": a["prompt"], first: texts(a), second: texts(b)} for a, b in pairs]
    return Page("compare.html", f"{first} and {second}", values, rows, [START])


def texts(prompt: dict[str, Any]) -> list[str]:
    """Return the answers in the judge's order."""
    return [answer["answer"] for answer in with_places(prompt)["by_judge"]]


def side_by_side(figures_of_both: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row per metric that one of two rounds has, with the metric of each."""
    by_name: dict[str, dict[str, Any]] = {}
    for side, of_round in enumerate(figures_of_both):
        for figure in of_round:
            row = by_name.setdefault(figure["name"], {"label": figure["label"], "metrics": [None, None]})
            row["metrics"][side] = figure["metric"]
    return list(by_name.values())
