"""The tables of the distillation jobs, and their view for people."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "distillation_run",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("student_path", sa.Text()),
        sa.Column("student_hash", sa.Text()),
        sa.CheckConstraint("(student_path IS NULL) = (student_hash IS NULL)", name="student_with_hash"),
    )
    columns = ["job", "config_hash", "code_hash"]
    op.create_index("ix_distillation_run_made_of", "distillation_run", columns)
    op.create_table(
        "distillation_measure",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("distillation_run.id"), primary_key=True),
        sa.Column("arm", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double()),
        sa.Column("high", sa.Double()),
        sa.Column("items", sa.Integer()),
        sa.UniqueConstraint("run_id", "position"),
    )
    op.create_table(
        "distillation_step",
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("distillation_run.id"), primary_key=True),
        sa.Column("step", sa.Text(), primary_key=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
    )
    op.execute(DISTILLATION_SUMMARY)


def downgrade() -> None:
    op.execute("DROP VIEW distillation_summary")
    for table in ("distillation_step", "distillation_measure", "distillation_run"):
        op.drop_table(table)


# One row per measure of a run; a run that has measured nothing (it was interrupted) has one row without a measure.
DISTILLATION_SUMMARY = """
CREATE VIEW distillation_summary AS
SELECT
    distillation_run.id AS run,
    distillation_run.job AS job,
    distillation_run.seed AS seed,
    distillation_measure.position AS position,
    distillation_measure.arm AS arm,
    distillation_measure.name AS measure,
    distillation_measure.value AS value,
    distillation_measure.low AS low,
    distillation_measure.high AS high,
    distillation_measure.items AS items,
    (SELECT sum(seconds) FROM distillation_step WHERE distillation_step.run_id = distillation_run.id) AS seconds,
    distillation_run.student_path AS student_path,
    distillation_run.student_hash AS student_hash,
    distillation_run.config_hash AS config_hash,
    distillation_run.code_hash AS code_hash,
    distillation_run.started_at AS started_at,
    distillation_run.finished_at AS finished_at
FROM distillation_run
LEFT JOIN distillation_measure ON distillation_measure.run_id = distillation_run.id
"""
