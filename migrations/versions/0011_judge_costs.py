"""Estimated parts of the judge's cost, the end of each reply, and request parameters that an endpoint refuses."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SUMS = (
    *("attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds"),
    *("estimated_tokens", "estimated_usd"),  # appended, so that queries by position keep working
)


def upgrade() -> None:
    op.add_column("judge_call", sa.Column("estimated_tokens", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("judge_call", sa.Column("estimated_usd", sa.Double(), nullable=False, server_default="0"))
    op.add_column("judge_call", sa.Column("finish_reason", sa.Text()))
    where = sa.text("estimated_tokens > 0")
    op.create_index("ix_judge_call_estimated", "judge_call", ["round_id"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "judge_endpoint_refusal",
        sa.Column("endpoint_id", sa.Text(), primary_key=True),
        sa.Column("parameter", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
    )
    set_type_of_tokens(sa.Integer(), sa.BigInteger())
    make_judge_spending(SUMS)


def downgrade() -> None:
    make_judge_spending(SUMS[:5])
    set_type_of_tokens(sa.BigInteger(), sa.Integer())
    op.drop_table("judge_endpoint_refusal")
    op.drop_index("ix_judge_call_estimated", "judge_call")
    for column in ("finish_reason", "estimated_usd", "estimated_tokens"):
        op.drop_column("judge_call", column)


def set_type_of_tokens(before: sa.Integer, after: sa.Integer) -> None:
    """Change the type of a sum over all requests of a rejudgement, which may exceed 32 bits."""
    with op.batch_alter_table("rejudgement") as table:
        table.alter_column("tokens", type_=after, existing_type=before, existing_nullable=False)


def make_judge_spending(sums: tuple[str, ...]) -> None:
    """Make the view of 0002 again with these columns. PostgreSQL could not drop it below a view of a user's."""
    columns = ",\n    ".join(f"sum(judge_call.{name}) AS {name}" for name in sums)
    added = len(sums) == len(SUMS)
    if op.get_bind().dialect.name == "postgresql" and added:
        op.execute(JUDGE_SPENDING.format(create="CREATE OR REPLACE", columns=columns))
        return
    op.execute("DROP VIEW judge_spending")
    op.execute(JUDGE_SPENDING.format(create="CREATE", columns=columns))


JUDGE_SPENDING = """
{create} VIEW judge_spending AS
SELECT
    experiment.name AS experiment,
    round.number AS round,
    judge_call.model AS model,
    judge_call.purpose AS purpose,
    template.name AS template,
    template.hash AS template_hash,
    sum(CASE WHEN judge_call.status = 'answered' THEN 1 ELSE 0 END) AS answered_calls,
    sum(CASE WHEN judge_call.status = 'failed' THEN 1 ELSE 0 END) AS failed_calls,
    {columns}
FROM judge_call
JOIN round ON round.id = judge_call.round_id
JOIN experiment ON experiment.id = judge_call.experiment_id
JOIN template ON template.hash = judge_call.template_hash
GROUP BY experiment.name, round.number, judge_call.model, judge_call.purpose, template.name, template.hash
"""
