"""What every distillation flow is made of: a run in the store, its timed steps, its folders and its report."""

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from cyclealign.config import Section, settings_identity
from cyclealign.distill.legacy import sources_of
from cyclealign.distill.registry import job_named
from cyclealign.distill.report import markdown_table, measure_table, plot_measures
from cyclealign.distill.settings import JobConfig, version_key
from cyclealign.files import hash_of_folder, home
from cyclealign.progress import announce, tell
from cyclealign.records import content_id
from cyclealign.records.distillation import Curve, DistillationRun, Measure
from cyclealign.store import Store

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """A distillation job at work on one run.

    ``finished`` says that a run with the same settings, data and version was found finished: the flow then returns its
    id at once. ``made_by`` is the hash of what every stage depends on: files that the config names, version, seed.
    ``made_by_before`` is the same hash as release 0.1.0 formed it, where this version computes the same.
    """

    name: str
    run: DistillationRun
    store: Store
    made_by: str
    made_by_before: str | None = None

    @property
    def id(self) -> int:
        """The run's id, which the flow returns."""
        return self.run.id

    @property
    def finished(self) -> bool:
        return self.run.finished

    @property
    def labels(self) -> Path:
        """Where the job's labels lie, under their own hashes: runs whose teachers and data are the same share them."""
        return home() / "distill" / self.name / "labels"

    def place(self, stage: str, *made_of: Section | Mapping[str, object]) -> Path:
        """Where a stage leaves what it makes: a folder of its name and the hash of all that it is made of.

        Runs share the stages that are made of the same, so what was trained is found again where other settings have
        changed, such as what is measured. A run that was asked to train again has places of its own. A stage that 0.1.0
        made is found where it left it.

        Args:
            made_of: the settings that bear on it; version, seed and the content of files are added.
        """
        settings = [settings_identity(each) if isinstance(each, Section) else dict(each) for each in made_of]

        def place(made_by: str) -> Path:
            made = content_id("stage", made_by, stage, settings)
            name = f"{stage.replace(', ', '-').replace(' ', '-')}-{made[:16]}"
            return home() / "distill" / self.name / "stages" / name

        before = place(self.made_by_before) if self.made_by_before else None
        # A training that was cut off has left no folder yet, but the checkpoints beside it.
        if before and (before.exists() or before.with_name(f"{before.name}-steps").exists()):
            return before
        return place(self.made_by)

    def lost(self) -> Path | None:
        """The student or the report, if it is not where the run left it."""
        left = [Path(each) for each in (self.run.student_path, self.run.report_path) if each]
        return next((each for each in left if not each.exists()), None)

    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function as a Prefect task of that name; its seconds go into the store, whatever ends it."""

        def call() -> R:  # Prefect looks through a task's arguments, which may be large: it is given none
            return function(*args, **kwargs)

        # As a text, the name would be a template, in which the braces of an arm's name stand for parameters.
        as_task = task(name=name, task_run_name=lambda: name, cache_policy=NO_CACHE, persist_result=False)(call)
        tell(name, 0, 1)
        started = time.monotonic()
        try:
            made = as_task()
        finally:
            self.store.distillations.add_step_seconds(self.run.id, name, time.monotonic() - started)
        tell(name, 1, 1)
        return made

    def tells(self, what: str) -> Callable[[int, int], None]:
        """A function for the library to say how far it is: (done, of)."""
        return lambda done, of: tell(what, done, of)

    def student(self, path: Path) -> None:
        """Record where the run's student lies, with the hash of its folder's content."""
        self.store.distillations.record_student(self.run.id, str(path), hash_of_folder(path))

    def report(self, measures: Sequence[Measure], curves: Sequence[Curve] = ()) -> int:
        """Finish the run: its measures into the store, table and plot to the run's page and under ``reports/``.

        Returns:
            The run's id.
        """
        title = f"{self.name}, run {self.run.id}"
        rows = measure_table(measures)
        svg = plot_measures(measures, curves, title)
        picture = base64.b64encode(svg).decode()
        page = f"# {title}\n\n{markdown_table(rows)}\n\n"
        path = home() / "reports" / f"{self.name}-{self.run.id}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".svg").write_bytes(svg)
        written = f"{page}![measures]({self.name}-{self.run.id}.svg)\n"
        path.write_text(written, encoding="utf-8")
        create_table_artifact(key=f"{self.name}-measures", table=list(rows), description=title)
        shown = f"{page}![measures](data:image/svg+xml;base64,{picture})\n"
        create_markdown_artifact(key=f"{self.name}-report", markdown=shown, description=title)
        self.store.distillations.finish(self.run.id, measures, str(path))
        return self.run.id


@contextmanager
def opened(job: str, config: JobConfig, inputs: Mapping[str, str] | None = None) -> Iterator[Job]:
    """Open the run of a job: a new one, one that was interrupted and goes on, or a finished one of the same work.

    A finished run whose student or report is gone goes on too: it makes what is missing, and measures again, since the
    store does not hold all that a report shows.

    Args:
        job: its name, as in `cyclealign.distill.registry`.
        config: its settings; ``force`` asks to train anew what is finished.
        inputs: content hashes of files that the config names, so that a changed file makes another run.
    """
    entry, files = job_named(job), dict(inputs or {})
    name, version = entry.name, entry.version()
    settings = config.model_dump(mode="json", exclude={"force"})
    identity = settings_identity(config, exclude={"force"})
    current, before = version_key(name, version), sources_of(name, version)
    hashes = (content_id("distillation", name, identity, files), current)
    with Store.open() as store:
        run = store.distillations.open(name, settings, hashes, config.seed, config.force, [before] if before else [])

        def made_by(code: str) -> str:
            return content_id("made by", files, code, config.seed, run.repeat)

        work = Job(name, run, store, made_by(current), made_by(before) if before else None)
        lost = work.lost() if run.finished else None
        if lost:
            store.distillations.reopen(run.id)
            work = replace(work, run=replace(run, finished=False))
        announce(f"{name}, run {run.id}")
        if lost:
            announce(f"Run {run.id} was finished; what is gone since is made again: {lost}")
        if work.finished:
            announce(
                f"Run {run.id} has the same settings, data and version and is finished; --force (or `force`) trains "
                "anew."
            )
        logger.info("Settings: %s", json.dumps(settings))
        yield work
