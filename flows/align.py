"""The CycleAlign loop as Prefect flows: with the documented defaults, and with the demo's settings.

Prefect's result cache stays off: the database is the record, and to resume is to run again.
"""

from prefect import Flow, State, flow
from prefect.runtime import deployment

from cyclealign.config import ExperimentConfig, load_config
from cyclealign.errors import AwaitsApproval, ExperimentBusy, ExperimentStopped
from cyclealign.files import EXAMPLES
from cyclealign.loop.align import align as run_loop
from cyclealign.store import Store
from flows.approval_form import ask_for_decision, asked_elsewhere
from flows.end_states import end_state
from flows.prefect_ports import PREFECT_PORTS

DEMO = load_config(EXAMPLES / "demo.toml").model_copy(update={"until": None, "rounds": 1})


def run(config: ExperimentConfig) -> int | State[int]:
    """Advance an experiment by some rounds of CycleAlign.

    Each round: the policy answers fresh prompts, the judge ranks the answers, agreed rankings become demonstrations,
    the policy is fine-tuned, and the round is accepted or rolled back as a whole. A restarted run resumes at the same
    point.

    Args:
        config: All settings; docs/configuration.md explains each.

    Returns:
        The number of rounds that this run finished.
    """
    while True:
        try:
            return run_loop(config, PREFECT_PORTS)
        except (ExperimentBusy, ExperimentStopped) as error:
            return end_state(error)
        except AwaitsApproval as error:
            if (state := wait_for_decision(config.experiment, error)) is not None:
                return state


def wait_for_decision(experiment: str, error: AwaitsApproval) -> State[int] | None:
    """Suspend the run until a person has decided, or return its end state if another run waits with the form.

    Raises:
        AwaitsApproval: this run was started from a terminal, which prints what to do.
    """
    if deployment.id is None:
        raise error
    with Store.open() as store:
        approval = store.approvals.waiting(experiment)
        if approval is not None and approval.decision is None:
            if asked_elsewhere(approval):
                return end_state(error)
            ask_for_decision(store, approval)
    return None


def flow_with(form: ExperimentConfig) -> Flow[[ExperimentConfig], int | State[int]]:
    """Return the flow whose form in the UI is filled with these settings; each deployment has a form of its own."""

    def align(config: ExperimentConfig) -> int | State[int]:
        return run(config)

    align.__doc__ = run.__doc__
    align.__defaults__ = (form,)
    decorated = flow(
        name="align", flow_run_name="align-{config.experiment}", persist_result=False, validate_parameters=True
    )
    return decorated(align)


align = flow_with(ExperimentConfig())
demo = flow_with(DEMO)
