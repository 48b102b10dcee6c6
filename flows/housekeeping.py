"""Housekeeping from the Prefect UI, and on a schedule."""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from cyclealign.evaluation.report import markdown_table
from cyclealign.housekeeping import report
from cyclealign.housekeeping.clean import Outcome, clean
from cyclealign.housekeeping.rules import HousekeepingRules
from cyclealign.store import Store


@flow(name="housekeeping", flow_run_name="housekeeping", persist_result=False, validate_parameters=True)
def housekeeping(rules: HousekeepingRules = HousekeepingRules()) -> int:  # noqa: B008 - the form shows this value
    """Delete old weights, checkpoints, labels and logs that no round, student or run needs.

    Args:
        rules: Ages and counts. A dry run lists what would be deleted.

    Returns:
        The bytes that were deleted, or would be in a dry run.
    """
    with Store.open() as store:
        outcome = clean(store, rules)
    create_markdown_artifact(key="housekeeping", markdown=page(outcome), description=report.summary(outcome))
    return outcome.size


def page(outcome: Outcome) -> str:
    """Return the page of a pass: the sum, a table of the paths, and notes on what was left alone."""
    parts = ["# Housekeeping", report.summary(outcome)]
    if outcome.expired:
        parts.append(markdown_table(report.rows(outcome)))
    parts += [f"- {note}" for note in outcome.notes]
    return "\n\n".join(parts) + "\n"
