"""Notes on rounds, lists that people are asked to rank, and rounds put to another judge."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("round_note", "review", "rejudgement")


def upgrade() -> None:
    op.create_table(
        "round_note",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        sa.Column("about", sa.Text(), primary_key=True),
        sa.Column("words", sa.Text(), nullable=False),
    )
    op.create_table(
        "review",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        sa.Column("prompt_id", sa.Text(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("verdict", sa.JSON()),
        sa.Column("learnt", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"]),
        sa.CheckConstraint("status IN ('waiting', 'answered', 'skipped')", name="status"),
        sa.CheckConstraint("(status = 'answered') = (verdict IS NOT NULL)", name="answered_means_verdict"),
        sa.CheckConstraint("status = 'answered' OR NOT learnt", name="learnt_means_answered"),
    )
    op.create_table(
        "rejudgement",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("template_hash", sa.Text(), sa.ForeignKey("template.hash"), nullable=False),
        sa.Column("demonstrations", sa.Text(), nullable=False),
        sa.Column("lists", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("flips", sa.Double(), nullable=False),
        sa.Column("tau", sa.Double(), nullable=False),
        sa.Column("tau_low", sa.Double(), nullable=False),
        sa.Column("tau_high", sa.Double(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_rejudgement_round_id", "rejudgement", ["round_id"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
