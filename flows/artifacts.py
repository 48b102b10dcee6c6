"""The report of a round in the Prefect UI: a table of the experiment's rounds, and a page of the round."""

import os
import re
from collections.abc import Iterable

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from cyclealign.browse import PAGES_VARIABLE
from cyclealign.browse.rounds import round_link
from cyclealign.distill.registry import JOBS
from cyclealign.evaluation.report import embedded
from cyclealign.evaluation.round_page import round_page
from cyclealign.evaluation.round_report import round_table
from cyclealign.evaluation.training_figures import Steps, plot_training
from cyclealign.loop.ports import save_plot
from cyclealign.records import Round
from cyclealign.store import Store
from flows.events import report_round


def publish(store: Store, round_: Round) -> None:
    """Publish the table of all rounds and the page of this one with the run, and tell automations of the verdict.

    The keys are those of the experiment, so that its rounds are versions of one table and one page.
    """
    rounds = store.experiments.rounds(round_.experiment)
    summary = next(row for row in rounds if row["number"] == round_.number)
    description = f"Experiment {round_.experiment}, round {round_.number}"
    prefix = key_prefix(round_.experiment, store.experiments.names(), JOBS)
    create_table_artifact(key=f"{prefix}-history", table=round_table(rounds), description=description)
    plot = embedded(save_plot(store, round_).read_bytes(), "rounds")
    detail = store.history.detail(round_.experiment, round_.number)
    page = round_page(detail, summary["metrics"], plot, training_plot(detail["training_steps"], description))
    if pages := os.environ.get(PAGES_VARIABLE):
        link = f"{pages}{round_link(round_.experiment, round_.number)}"
        page += f"\n[All prompts, exchanges and settings of this round]({link})\n"
    create_markdown_artifact(key=f"{prefix}-report", markdown=page, description=description)
    waits = "waiting" if detail["approval"] and summary["verdict"] is None else summary["verdict"]
    report_round(round_, waits, summary["reason"] or "")


def training_plot(steps: Steps, title: str) -> str:
    """Return the plot of the round's training steps as Markdown; empty for a round that has not trained."""
    return embedded(plot_training(steps, title), "training") if steps else ""


def key_prefix(experiment: str, experiments: Iterable[str], reserved: Iterable[str] = ()) -> str:
    """Return the experiment's name as Prefect allows it in a key: lower case letters, digits and dashes.

    Of several names that are then the same, the oldest experiment has it as it is, and the others get a number. So do
    those that are ``reserved``. A later experiment never changes an older one's key.

    Args:
        experiments: all names, the oldest first.
    """
    taken = set(reserved)
    for name in experiments:
        prefix, number = slug(name), 1
        while prefix in taken:
            number += 1
            prefix = f"{slug(name)}-{number}"
        if name == experiment:
            return prefix
        taken.add(prefix)
    raise ValueError(f"'{experiment}' is not among the experiments.")


def slug(name: str) -> str:
    """Return the name in lower case, with a dash for each run of other signs."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
