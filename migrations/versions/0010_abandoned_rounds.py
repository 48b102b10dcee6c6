"""Abandoned rounds, changes of open rounds, answers taken over from abandoned rounds, and experiments to be tidied."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BEFORE, AFTER = ("accepted", "rolled_back"), ("accepted", "rolled_back", "abandoned")
TEXT, MOMENT = sa.Text(), sa.DateTime(timezone=True)
COLUMNS = (
    ("candidate", "copied_from", TEXT),
    ("adapter", "pruned_at", MOMENT),
    ("experiment", "origin", TEXT),
    ("experiment", "archived_at", MOMENT),
)


def upgrade() -> None:
    allow_verdicts(BEFORE, AFTER)
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind))
    op.create_table(
        "round_change",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), nullable=False),
        sa.Column("setting", sa.Text(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_round_change_round_id", "round_change", ["round_id"])


def downgrade() -> None:
    op.drop_table("round_change")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
    op.execute("UPDATE round SET verdict = 'rolled_back' WHERE verdict = 'abandoned'")
    allow_verdicts(AFTER, BEFORE)


def allow_verdicts(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Replace the check of the column ``verdict``; SQLite rebuilds the table for it."""
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_round_verdict"), "round", type_="check")
        op.create_check_constraint(op.f("ck_round_verdict"), "round", one_of(after))
        return
    with without_views(), op.batch_alter_table("round", recreate="always", copy_from=round_table(before)) as batch:
        batch.drop_constraint(op.f("ck_round_verdict"), type_="check")
        batch.create_check_constraint(op.f("ck_round_verdict"), one_of(after))


@contextmanager
def without_views() -> Iterator[None]:
    """Drop all views, those of users too, and make them again: SQLite checks every view when it renames a table."""
    found = op.get_bind().exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY rowid")
    views = found.tuples().all()
    for name, _ in views:
        op.execute(f'DROP VIEW "{name}"')
    yield
    for _, statement in views:
        op.get_bind().exec_driver_sql(statement)


def one_of(verdicts: tuple[str, ...]) -> str:
    return f"verdict IN ({', '.join(repr(verdict) for verdict in verdicts)})"


def round_table(verdicts: tuple[str, ...]) -> sa.Table:
    """Return the table as revisions 0001 to 0009 know it."""
    return sa.Table(
        "round",
        sa.MetaData(naming_convention=op.get_context().opts["target_metadata"].naming_convention),
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("experiment_id", sa.Integer(), sa.ForeignKey("experiment.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("parent_adapter_id", sa.Text(), sa.ForeignKey("adapter.id")),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("experiment_id", "number"),
        sa.CheckConstraint("status IN ('open', 'closed')", name="status"),
        sa.CheckConstraint(one_of(verdicts), name="verdict"),
        sa.CheckConstraint("(status = 'closed') = (verdict IS NOT NULL)", name="closed_means_decided"),
        sa.Index("uq_round_one_open", "experiment_id", unique=True, sqlite_where=sa.text("status = 'open'")),
    )
