"""Runs of the distillation jobs, their metrics, and the seconds of their steps."""

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cyclealign.tables.columns import Base, BigNumber, Id, Key

RunPart = Annotated[int, mapped_column(ForeignKey("distillation_run.id"), primary_key=True)]


class DistillationRun(Base):
    """One run. ``config_hash`` covers the config and the files that it names, ``code_hash`` the job's version.

    Metrics and ``finished_at`` are written in one transaction: a run without ``finished_at`` can be resumed.
    """

    __tablename__ = "distillation_run"
    __table_args__ = (
        Index("ix_distillation_run_made_of", "job", "config_hash", "code_hash"),
        CheckConstraint("(student_path IS NULL) = (student_hash IS NULL)", name="student_with_hash"),
    )
    id: Mapped[Key]
    job: Mapped[str]
    config: Mapped[dict[str, Any]]
    config_hash: Mapped[str]
    code_hash: Mapped[str]
    seed: Mapped[BigNumber]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    student_path: Mapped[str | None]
    student_hash: Mapped[str | None]
    report_path: Mapped[str | None]


class DistillationMeasure(Base):
    """A metric of one arm of a run, with its 95 % bounds; ``position`` keeps the job's order."""

    __tablename__ = "distillation_measure"
    __table_args__ = (UniqueConstraint("run_id", "position"),)
    run_id: Mapped[RunPart]
    arm: Mapped[Id]
    name: Mapped[Id]
    position: Mapped[int]
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    items: Mapped[int | None]


class DistillationStep(Base):
    """Seconds spent on a step, summed over ``runs`` attempts (a resumed run has several)."""

    __tablename__ = "distillation_step"
    run_id: Mapped[RunPart]
    step: Mapped[Id]
    seconds: Mapped[float]
    runs: Mapped[int]
