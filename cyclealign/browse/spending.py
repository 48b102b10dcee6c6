"""The page of spending, by experiment, round, model and purpose, and that of the judges compared."""

from collections.abc import Iterable, Mapping
from typing import Any

from cyclealign.browse.experiments import START
from cyclealign.browse.page import Page
from cyclealign.evaluation.metric_table import ROUND_METRICS
from cyclealign.store import Store

SUMMED = ("answered_calls", "failed_calls", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
GROUPS = {
    "experiment": ("experiment",),
    "round": ("experiment", "round"),
    "model": ("model",),
    "purpose": ("purpose",),
}
Row = dict[str, Any]


def spending(store: Store, experiment: str | None, by: str) -> Page:
    """Return the cost of judge calls in groups: by experiment, round, model or purpose."""
    rows = store.views.rows("judge_spending", experiment)
    grouped = sums(rows, GROUPS[by])
    total = sums(rows, ())[0] if rows else None
    values = {"groups": grouped, "total": total, "by": by, "names": GROUPS[by], "experiment": experiment}
    title = "Spending" if experiment is None else f"Spending of {experiment}"
    return Page("spending.html", title, {**values, "choices": list(GROUPS)}, rows, [START])


def sums(rows: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> list[Row]:
    """Return a row for each combination of these columns, with the sums of the others, in the order of the rows."""
    groups: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in names)
        group = groups.setdefault(key, {**dict(zip(names, key, strict=True)), **dict.fromkeys(SUMMED, 0)})
        for name in SUMMED:
            group[name] += row[name] or 0
    return list(groups.values())


def judges(store: Store, experiment: str | None) -> Page:
    """Return the judges, by model and version of the template, with their calls, cost and mean figures."""
    rows = store.judges.compare(experiment)
    metrics = [metric for metric in ROUND_METRICS if metric.compare]
    values = {"judges": rows, "metrics": metrics, "experiment": experiment}
    return Page("judges.html", "Judges", values, rows, [START])
