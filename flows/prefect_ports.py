"""The loop's ports, filled from Prefect."""

from collections.abc import Callable
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from cyclealign.loop.ports import Ports, ReviewForm
from cyclealign.loop.preflight.check import require_ready
from flows.artifacts import publish
from flows.events import report_event, report_stop
from flows.pause_form import ask_by_form, form_can_be_seen
from flows.rate_limits import rate_limiter
from flows.run_identity import run_name, this_run
from flows.secrets import api_key

T = TypeVar("T")


def run_as_task(name: str, round_number: int, step: Callable[[], T]) -> T:
    """Run the step as a Prefect task, so that the run's page shows the state of the round."""
    run_name = f"{name}-round-{round_number}"
    return task(name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)(step)()


def review_form() -> ReviewForm | None:
    """Return the form of a paused run if this run has a page on which people can fill it in."""
    return ask_by_form if form_can_be_seen() else None


PREFECT_PORTS = Ports(
    run_id=this_run,
    run_name=run_name,
    api_key=api_key,
    rate_limiter=rate_limiter,
    review_form=review_form,
    run_step=run_as_task,
    check=require_ready,
    publish=publish,
    report_stop=report_stop,
    report_event=report_event,
)
