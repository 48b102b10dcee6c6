"""Pages of experiments: the list, one experiment, its demonstrations, its template versions."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from cyclealign.browse.page import Page
from cyclealign.evaluation.round_report import plot_rounds, round_table
from cyclealign.store import Store

START = ("Experiments", "/")
LAST_ROUNDS = 50
Values = dict[str, Any]


def link(experiment: str) -> str:
    """Return the address of an experiment's page."""
    return f"/experiments/{quote(experiment, safe='')}"


def listing(store: Store, archived: bool) -> Page:
    """Return the list of experiments, the newest first; with or without the archived ones."""
    rows = [row for row in store.upkeep.experiments() if archived or row["archived_at"] is None][::-1]
    hidden = 0 if archived else sum(row["archived_at"] is not None for row in store.upkeep.experiments())
    return Page("experiments.html", "Experiments", {"experiments": rows, "hidden": hidden}, rows)


def experiment_page(store: Store, name: str, last: int | None) -> Page:
    """Return an experiment's last rounds, or all, with verdicts, figures, notes and cost."""
    outcomes = store.history.outcomes(name)
    rounds = store.experiments.rounds(name, last)
    spent = sum(row["cost_usd"] or 0 for row in outcomes)
    accepted = sum(row["verdict"] == "accepted" for row in outcomes)
    values = {
        "experiment": name,
        "count": len(outcomes),
        "rounds": rounds[::-1],
        "table": round_table(rounds),
        "spent": spent,
        "accepted": accepted,
        "neighbours": [(a["number"], b["number"]) for a, b in pairwise(rounds)],
    }
    return Page("experiment.html", name, values, [_without_metrics(row) for row in rounds], [START])


def _without_metrics(row: Mapping[str, Any]) -> Values:
    """Return the row as in ``round_summary``."""
    notes = "\n".join(f"{about}: {words}" for about, words in row["notes"].items())
    return {**{name: value for name, value in row.items() if name != "metrics"}, "notes": notes or None}


def plot(store: Store, name: str) -> bytes:
    """Return an SVG of the metrics of all rounds."""
    store.experiments.require(name)  # names those that exist if this one does not
    return plot_rounds(store.experiments.rounds(name), name)


def demonstrations(store: Store, name: str) -> Page:
    """Return all promotions of demonstrations of an experiment over time."""
    rows = store.views.rows("demonstration_history", name)
    return Page(
        "demonstrations.html",
        f"Demonstrations of {name}",
        {"experiment": name, "rows": rows[::-1]},
        rows,
        [START, (name, link(name))],
    )


def templates(store: Store, name: str) -> Page:
    """Return the versions of the judge's templates, each with its difference from the one before and its effect."""
    versions = store.templates.versions(name)
    shown = [{**version, "changes": changes} for version, changes in zip(versions, differences(versions), strict=True)]
    rows = [
        {"name": version["name"], "template_hash": version["template_hash"], **_flat(use)}
        for version in versions
        for use in version["rounds"]
    ]
    values = {"experiment": name, "versions": shown[::-1]}
    return Page("templates.html", f"Templates of {name}", values, rows, [START, (name, link(name))])


def _flat(use: Mapping[str, Any]) -> Values:
    accuracy = use["judge_accuracy"]
    return {**use, "judge_accuracy": None if accuracy is None else accuracy.value}


def differences(versions: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the lines that changed from the version before of the same template; none for a first version."""
    before: dict[str, str] = {}
    changes = []
    for version in versions:
        old = before.get(version["name"])
        changes.append([] if old is None else _difference(old, version["text"]))
        before[version["name"]] = version["text"]
    return changes


def _difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2)
    return [line for line in lines if not line.startswith(("---", "+++"))]
