"""Run a distillation job: open its run in the store, run its steps, store the outcome and write the report."""

import importlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cyclealign.config import settings_identity, settings_without_effect
from cyclealign.distill.in_use import in_use
from cyclealign.distill.legacy import sources_of
from cyclealign.distill.registry import JobSpec
from cyclealign.distill.report import measure_table, plot_measures
from cyclealign.distill.settings import JobConfig, TrainerSettings, version_key
from cyclealign.distill.steps import Outcome, StepRunner, Steps, call_step
from cyclealign.evaluation.report import markdown_table
from cyclealign.files import hash_of_folder, report_file
from cyclealign.progress import announce
from cyclealign.records import content_id
from cyclealign.records.distillation import DistillationRun
from cyclealign.store import Store

logger = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class Report:
    """The report of a run, for the Prefect UI.

    Attributes:
        job: name of the job.
        title: job and run.
        rows: one row per arm, one column per measure.
        page: title and table in Markdown, without the plot.
        svg: the plot.
    """

    job: str
    title: str
    rows: list[dict[str, str]]
    page: str
    svg: bytes


Publish = Callable[[Report], object]


def run_job(
    spec: JobSpec, config: JobConfig, run_step: StepRunner = call_step, publish: Publish = lambda report: None
) -> int:
    """Run a job, or find its finished run with the same settings, data and version.

    An interrupted run is resumed: stages and labels that are complete are reused.

    Args:
        spec: the job.
        config: its settings; ``force`` trains finished work anew.
        run_step: runs a step under its name; by default in this thread.
        publish: receives the report, in addition to the file under ``reports/``.

    Returns:
        The id of the run in the store.

    Raises:
        DistillError: a library that the job needs is missing, or its data or models cannot be used.
    """
    job = spec.load()
    if isinstance(trainer := getattr(config, "trainer", None), TrainerSettings):
        importlib.import_module("cyclealign.distill.training").accelerator_for(trainer)  # refused before the labelling
    with open_run(spec, config, job.inputs(config), run_step) as opened:
        if not opened.run.finished:
            outcome = job.run(config, opened.steps)
            if outcome.student is not None:
                opened.store.distillations.record_student(
                    opened.run.id, str(outcome.student), hash_of_folder(outcome.student)
                )
            report, path = write_report(spec.name, opened.run.id, outcome)
            publish(report)
            opened.store.distillations.finish(opened.run.id, outcome.measures, str(path))
        return opened.run.id


@dataclass(frozen=True)
class OpenedRun:
    """A run in the open store, and the steps with which the job runs."""

    run: DistillationRun
    store: Store
    steps: Steps


@contextmanager
def open_run(
    spec: JobSpec, config: JobConfig, inputs: Mapping[str, str], run_step: StepRunner = call_step
) -> Iterator[OpenedRun]:
    """Open the run of a job: a new one, an interrupted one, or a finished one of the same work.

    A finished run whose student or report is missing is reopened: it makes what is missing and measures again, since
    the store does not hold everything that a report shows.

    Args:
        spec: the job.
        config: its settings; ``force`` opens another run if the newest is finished.
        inputs: content hashes of files and models that the config names; another content is another run.
        run_step: runs a step under its name.
    """
    name, version, files = spec.name, spec.version(), dict(inputs)
    settings = config.model_dump(mode="json", exclude={"force"})
    identity = settings_identity(config, exclude={"force"})
    current, before = version_key(name, version), sources_of(name, version)
    hashes = (content_id("distillation", name, identity, files), current)
    with in_use(name), Store.open() as store:
        run = store.distillations.open(name, settings, hashes, config.seed, config.force, [before] if before else [])

        def made_by(code: str) -> str:
            return content_id("made by", files, code, config.seed, run.repeat)

        missing = missing_output(run) if run.finished else None
        if missing:
            store.distillations.reopen(run.id)
            run = replace(run, finished=False)
        announce(f"{name}, run {run.id}")
        if missing:
            announce(f"Run {run.id} was finished; its output is missing and is made again: {missing}")
        if run.finished:
            announce(
                f"Run {run.id} has the same settings, data and version and is finished; --force (or `force`) trains "
                "anew."
            )
        for sentence in settings_without_effect(config):
            announce(sentence)
        logger.info("Settings: %s", json.dumps(settings))
        timed = timed_steps(store, run.id, run_step)
        yield OpenedRun(run, store, Steps(name, made_by(current), made_by(before) if before else None, timed))


def missing_output(run: DistillationRun) -> Path | None:
    """Return the path of the run's student or report that no longer exists."""
    outputs = [Path(path) for path in (run.student_path, run.report_path) if path]
    return next((path for path in outputs if not path.exists()), None)


def timed_steps(store: Store, run_id: int, run_step: StepRunner) -> StepRunner:
    """Return a runner that also stores the seconds of each step, even if it raises."""

    def timed(name: str, call: Callable[[], R]) -> R:
        started = time.monotonic()
        try:
            return run_step(name, call)
        finally:
            store.distillations.add_step_seconds(run_id, name, time.monotonic() - started)

    return timed


def write_report(job: str, run_id: int, outcome: Outcome) -> tuple[Report, Path]:
    """Write table and plot under ``reports/``; return the report and the path of its page."""
    title = f"{job}, run {run_id}"
    rows = measure_table(outcome.measures)
    page = f"# {title}\n\n{markdown_table(rows)}\n\n"
    report = Report(job, title, rows, page, plot_measures(outcome.measures, outcome.curves, title))
    path = report_file(f"{job}-{run_id}.md")
    path.with_suffix(".svg").write_bytes(report.svg)
    path.write_text(f"{page}![measures]({path.with_suffix('.svg').name})\n", encoding="utf-8")
    return report, path
