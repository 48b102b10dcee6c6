"""End states of runs that were not let in or not continued: named, so that nobody takes them for a fault."""

from typing import Any

from prefect import State
from prefect.runtime import deployment
from prefect.states import Cancelled, Failed

from cyclealign.errors import AwaitsApproval, CycleAlignError, ExperimentBusy

STOPPED = "Stopped"


def end_state(error: CycleAlignError) -> State[Any]:
    """Return the state in which a run of a deployment ends: Cancelled beside another run, else Stopped.

    A schedule that starts while another run has the experiment, or waits for a person, is no failure, and notifies
    nobody.

    Raises:
        CycleAlignError: this run was started from a terminal, which prints the error.
    """
    if deployment.id is None:
        raise error
    if isinstance(error, ExperimentBusy | AwaitsApproval):
        return Cancelled(message=str(error))
    return Failed(name=STOPPED, message=str(error))
