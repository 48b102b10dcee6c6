"""Runs of the distillation jobs: settings, metrics and seconds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from cyclealign import tables
from cyclealign.errors import NoSuchJob
from cyclealign.records import Metric
from cyclealign.records.distillation import DistillationRun, arm_values
from cyclealign.store.history import plain
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert, insert_all, now
from cyclealign.tables.columns import Utc
from cyclealign.text import did_you_mean

Values = dict[str, Any]


class DistillationStore(Repository):
    """Distillation runs."""

    def open(
        self,
        job: str,
        config: Mapping[str, Any],
        hashes: tuple[str, str],
        seed: int,
        force: bool = False,
        former_code_hashes: Collection[str] = (),
    ) -> DistillationRun:
        """Return the newest run of this job with the same hashes, finished or not; open a new one if there is none.

        Args:
            config: the settings as JSON values.
            hashes: of the config (and the files that it names), and of the job's version.
            force: open a new run, even if a finished one exists.
            former_code_hashes: hashes of the same version in earlier releases.
        """
        table = tables.DistillationRun
        with self._database.writing() as session:
            same = session.scalars(
                select(table)
                .where(
                    table.job == job,
                    table.config_hash == hashes[0],
                    table.code_hash.in_([hashes[1], *former_code_hashes]),
                )
                .order_by(table.id)
            ).all()
            found, repeat = (same[-1], len(same) - 1) if same else (None, 0)
            if found is None or (force and found.finished_at is not None):
                found = table(
                    job=job,
                    config=dict(config),
                    config_hash=hashes[0],
                    code_hash=hashes[1],
                    seed=seed,
                    started_at=now(),
                )
                session.add(found)
                session.flush()
                repeat = len(same)
            finished = found.finished_at is not None
            made_of = (found.config_hash, found.code_hash)
            return DistillationRun(found.id, job, *made_of, finished, found.student_path, found.report_path, repeat)

    def reopen(self, run_id: int) -> None:
        """Mark a finished run as unfinished; its metrics stay until it finishes again."""
        table = tables.DistillationRun
        with self._database.writing() as session:
            session.execute(update(table).where(table.id == run_id).values(finished_at=None))

    def add_step_seconds(self, run_id: int, step: str, seconds: float) -> None:
        """Add the seconds that were spent on a step; those of interrupted attempts add up."""
        spent = tables.DistillationStep
        with self._database.writing() as session:
            statement = insert(session, spent).values(run_id=run_id, step=step, seconds=seconds, runs=1)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=[spent.run_id, spent.step],
                    set_={"seconds": spent.seconds + statement.excluded.seconds, "runs": spent.runs + 1},
                )
            )

    def record_student(self, run_id: int, path: str, content_hash: str) -> None:
        """Record the path of the run's student, after its folder is complete."""
        table = tables.DistillationRun
        with self._database.writing() as session:
            session.execute(
                update(table).where(table.id == run_id).values(student_path=path, student_hash=content_hash)
            )

    def finish(self, run_id: int, metrics: Sequence[Metric], report_path: str | None = None) -> None:
        """Record the run's metrics and that it is finished: both, or neither. A run that is finished stays as it is.

        The metrics of a run that was reopened are replaced.

        Args:
            report_path: path of the report.

        Raises:
            ValueError: two metrics share arm and name.
        """
        if len({(metric.arm, metric.name) for metric in metrics}) < len(metrics):
            raise ValueError("two metrics of a run share arm and name")
        table, measure = tables.DistillationRun, tables.DistillationMeasure
        finishing = (
            update(table)
            .where(table.id == run_id, table.finished_at.is_(None))
            .values(finished_at=now(), report_path=report_path)
        )
        rows = [{"run_id": run_id, "position": number, **arm_values(metric)} for number, metric in enumerate(metrics)]
        with self._database.writing() as session:
            if session.scalars(finishing.returning(table.id)).first() is not None:
                session.execute(delete(measure).where(measure.run_id == run_id))
                insert_all(session, measure, rows)

    def metrics(self, run_id: int) -> list[Metric]:
        """Return the run's metrics, in the job's own order."""
        with self._database.reading() as session:
            return _metrics(session, run_id)

    def runs(self, job: str | None = None) -> list[Values]:
        """Return runs as JSON values, the oldest first, each with its ``measures``, ``steps`` and total ``seconds``.

        The names are those of the view ``distillation_summary``; ``id``, and ``name`` of a measure, are those of 0.2.

        Raises:
            NoSuchJob: there is no run of that job; the message names those that there are.
        """
        table = tables.DistillationRun
        with self._database.reading() as session:
            rows = session.scalars(select(table).order_by(table.id)).all()
            known = sorted({row.job for row in rows})
            if job is not None and job not in known:
                names = ", ".join(known) or "none yet"
                raise NoSuchJob(f"There is no run of the job '{job}' (known: {names}).{did_you_mean(job, known)}")
            return [_run(session, row) for row in rows if job in (None, row.job)]

    def summary(self) -> list[Values]:
        """Return the rows of the view ``distillation_summary``: one per measure; a run without measures has one row."""
        query = text("SELECT * FROM distillation_summary ORDER BY run, position")
        with self._database.reading() as session:
            found = session.execute(query.columns(started_at=Utc, finished_at=Utc))
            return [plain(row._asdict()) for row in found]


def _metrics(session: Session, run_id: int) -> list[Metric]:
    table = tables.DistillationMeasure
    found = session.scalars(select(table).where(table.run_id == run_id).order_by(table.position))
    return [Metric(row.name, row.value, row.low, row.high, row.items, arm=row.arm) for row in found]


def _run(session: Session, row: tables.DistillationRun) -> Values:
    step = tables.DistillationStep
    steps = session.scalars(select(step).where(step.run_id == row.id).order_by(step.step)).all()
    return {
        "run": row.id,
        **plain({column.name: getattr(row, column.name) for column in row.__table__.columns}),
        "seconds": sum(each.seconds for each in steps),
        "steps": [{"step": each.step, "seconds": each.seconds, "runs": each.runs} for each in steps],
        "measures": [
            {"position": position, "measure": metric.name, **arm_values(metric)}
            for position, metric in enumerate(_metrics(session, row.id))
        ],
    }
