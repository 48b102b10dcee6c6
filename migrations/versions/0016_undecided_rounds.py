"""The verdict "undecided", and whether the next round starts from the weights of a round."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BEFORE = ("accepted", "rolled_back", "abandoned")
AFTER = ("accepted", "rolled_back", "undecided", "abandoned")


def upgrade() -> None:
    allow_verdicts(round_table(BEFORE), AFTER)
    op.add_column("round", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE round SET kept = (verdict = 'accepted') WHERE verdict IS NOT NULL")


def downgrade() -> None:
    op.execute("UPDATE round SET verdict = CASE WHEN kept THEN 'accepted' ELSE 'rolled_back' END"
               " WHERE verdict = 'undecided'")  # fmt: skip
    op.drop_column("round", "kept")
    allow_verdicts(round_table(AFTER), BEFORE)


def allow_verdicts(table: sa.Table, verdicts: tuple[str, ...]) -> None:
    """Replace the check of the column ``verdict``; SQLite rebuilds the table for it."""
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_round_verdict"), "round", type_="check")
        op.create_check_constraint(op.f("ck_round_verdict"), "round", one_of(verdicts))
        return
    with without_views(), op.batch_alter_table("round", recreate="always", copy_from=table) as batch:
        batch.drop_constraint(op.f("ck_round_verdict"), type_="check")
        batch.create_check_constraint(op.f("ck_round_verdict"), one_of(verdicts))


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
    """Return the table as revisions 0010 to 0015 know it."""
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
