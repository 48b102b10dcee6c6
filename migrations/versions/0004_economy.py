"""Prompt tokens from the provider's cache, and batches of calls at the provider."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    column = sa.Column("cached_prompt_tokens", sa.Integer(), nullable=False, server_default="0")
    op.add_column("judge_call", column)
    op.create_table(
        "judge_batch",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("experiment_id", sa.Integer(), sa.ForeignKey("experiment.id"), nullable=False),
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), nullable=False),
        sa.Column("token", sa.Text(), nullable=False, unique=True),
        sa.Column("batch_id", sa.Text()),
        sa.Column("call_keys", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status IN ('submitting', 'submitted', 'collected')", name="status"),
    )
    op.create_index("ix_judge_batch_experiment_id", "judge_batch", ["experiment_id"])


def downgrade() -> None:
    op.drop_table("judge_batch")
    op.drop_column("judge_call", "cached_prompt_tokens")
