"""Give up the open round of an experiment from the Prefect UI."""

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from cyclealign.loop.abandon import DEFAULT_REASON, summary
from cyclealign.loop.abandon import abandon as give_up
from flows.prefect_ports import PREFECT_PORTS


@flow(name="abandon", flow_run_name="abandon-{experiment}", persist_result=False)
def abandon(experiment: str, reason: str = DEFAULT_REASON) -> int:
    """Close the open round of an experiment as abandoned.

    Its answers and the judge's replies are kept; the next round draws the same prompts and uses them again if the
    settings are the same.

    Args:
        experiment: The experiment whose open round is given up.
        reason: For the history.

    Returns:
        The number of the abandoned round.
    """
    round_ = give_up(experiment, reason, PREFECT_PORTS)
    create_markdown_artifact(key="abandoned", markdown=summary(round_), description=f"Experiment {experiment}")
    return round_.number
