"""Details of the judge's rankings: preferences, reasons, unreadable replies, flags; capabilities of endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = (
    "ranking_preference",
    "ranking_reason",
    "unjudged_prompt",
    "reply_problem",
    "candidate_flag",
    "judge_endpoint",
)


def upgrade() -> None:
    op.create_table(
        "ranking_preference",
        sa.Column("ranking_id", sa.Integer(), sa.ForeignKey("ranking.id"), primary_key=True),
        sa.Column("better_id", sa.Text(), sa.ForeignKey("candidate.id"), primary_key=True),
        sa.Column("worse_id", sa.Text(), sa.ForeignKey("candidate.id"), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("verdicts", sa.Integer(), nullable=False),
        sa.CheckConstraint("share >= 0.5 AND share <= 1", name="share"),
    )
    op.create_table(
        "ranking_reason",
        sa.Column("ranking_id", sa.Integer(), sa.ForeignKey("ranking.id"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("candidate_id", sa.Text(), sa.ForeignKey("candidate.id"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "unjudged_prompt",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        sa.Column("prompt_id", sa.Text(), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"]),
    )
    op.create_table(
        "reply_problem",
        sa.Column("judge_call_id", sa.Integer(), sa.ForeignKey("judge_call.id"), primary_key=True),
        sa.Column("problem", sa.Text(), nullable=False),
    )
    op.create_table(
        "candidate_flag",
        sa.Column("candidate_id", sa.Text(), sa.ForeignKey("candidate.id"), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("excerpt", sa.Text(), nullable=False),
    )
    op.create_table(
        "judge_endpoint",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("json_schema", sa.Boolean(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
