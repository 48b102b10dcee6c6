"""The id of the current Prefect flow run."""

from uuid import uuid4

from prefect.runtime import flow_run


def this_run() -> str:
    """The id of the Prefect run, which it keeps when it is retried in another process; outside of one, a nonce."""
    return str(flow_run.id or uuid4())
