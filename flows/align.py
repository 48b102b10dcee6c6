"""The CycleAlign loop as a Prefect flow.

Prefect's result cache stays off: the database is the record, and to resume is to run again.
"""

from prefect import flow

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.files import EXAMPLES
from cyclealign.loop.align import align as run_loop
from flows.prefect_ports import PREFECT_PORTS

# The form in the UI is filled from this instance: the demo's settings, which run on any machine without changes.
FORM = load_config(EXAMPLES / "demo.toml").model_copy(update={"until": None, "rounds": 1})


@flow(name="align", flow_run_name="align-{config.experiment}", persist_result=False, validate_parameters=True)
def align(config: ExperimentConfig = FORM) -> int:
    """Advance an experiment by some rounds of CycleAlign.

    Each round: the policy answers fresh prompts, the judge ranks the answers, agreed rankings become demonstrations,
    the policy is fine-tuned, and the round is accepted or rolled back as a whole. A restarted run resumes at the same
    point.

    Args:
        config: All settings; docs/configuration.md explains each.

    Returns:
        The number of rounds that this run finished.
    """
    return run_loop(config, PREFECT_PORTS)
