"""The distillation jobs as Prefect flows, one for each job of the registry. Loads no torch before a flow runs."""

from collections.abc import Callable
from typing import TypeVar

from prefect import Flow, flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from cyclealign.distill.registry import JOBS, JobSpec
from cyclealign.distill.run import Report, run_job
from cyclealign.distill.settings import JobConfig
from cyclealign.evaluation.report import embedded

R = TypeVar("R")

DESCRIPTION = """{about}

Args:
    config: All settings; docs/configuration-{name}.md explains each.

Returns:
    The id of the run in the history.
"""


def flow_of(spec: JobSpec) -> Flow[[JobConfig], int]:
    """Make the flow of a job; its form in the UI shows the demo's settings, which work at once on any machine."""

    def run(config: JobConfig) -> int:
        return run_job(spec, config, run_as_task, publish)

    model = spec.config_model()
    # Prefect reads the form, its defaults and its texts from these.
    run.__annotations__["config"] = model
    run.__defaults__ = (spec.config(),)
    run.__doc__ = DESCRIPTION.format(about=spec.about(), name=spec.name)
    decorated = flow(
        name=spec.name,
        flow_run_name=f"{spec.name}-seed-{{config.seed}}",
        persist_result=False,
        validate_parameters=True,
    )
    return decorated(run)


def run_as_task(name: str, call: Callable[[], R]) -> R:
    """Run a step as a Prefect task of its name."""
    # As a text, the name would be a template, in which the braces of an arm's name stand for parameters. The task has
    # no arguments, since Prefect looks through them and they may be large.
    decorated = task(name=name, task_run_name=lambda: name, cache_policy=NO_CACHE, persist_result=False)
    return decorated(call)()


def publish(report: Report) -> None:
    """Leave the report with the flow run. Fixed keys make the runs of a job versions of one artifact."""
    create_table_artifact(key=f"{report.job}-measures", table=list(report.rows), description=report.title)
    page = report.page + embedded(report.svg, "measures")
    create_markdown_artifact(key=f"{report.job}-report", markdown=page, description=report.title)


FLOWS = {name: flow_of(spec) for name, spec in JOBS.items()}
# The entrypoints of prefect.yaml: flows.distill.pld and so on.
globals().update({JOBS[name].function: made for name, made in FLOWS.items()})
