"""The id and the name of the current Prefect flow run."""

from prefect.runtime import flow_run

from cyclealign.loop.ports import nonce, unnamed_run


def this_run() -> str:
    """Return the id of the Prefect run, which stays the same when it is retried; outside a run, a nonce."""
    return str(flow_run.id or nonce())


def run_name() -> str:
    """Return the name of the Prefect run, which its page shows."""
    return str(flow_run.name or unnamed_run())
