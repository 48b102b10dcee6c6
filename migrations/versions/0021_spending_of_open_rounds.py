"""``judge_spending`` finds the calls of open rounds by an index: SQLite read those of all rounds to group them."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

SUMS = ("answered_calls", "failed_calls", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
SUMS = (*SUMS, "estimated_tokens", "estimated_usd")
BY_INDEX = "FROM judge_call WHERE judge_call.round_id IN (SELECT id FROM round WHERE status = 'open')"
BY_JOIN = "FROM judge_call JOIN round ON round.id = judge_call.round_id WHERE round.status = 'open'"


def upgrade() -> None:
    make_judge_spending(BY_INDEX)


def downgrade() -> None:
    make_judge_spending(BY_JOIN)


def make_judge_spending(of_open: str) -> None:
    """Make the view again. PostgreSQL could not drop it below a view of a user's."""
    select = SPENDING.format(of_open=of_open)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE VIEW judge_spending AS {select}")
        return
    op.execute("DROP VIEW judge_spending")
    op.execute(f"CREATE VIEW judge_spending AS {select}")


SPENDING = f"""
SELECT experiment.name AS experiment, round.number AS round, summed.model AS model, summed.purpose AS purpose,
    template.name AS template, template.hash AS template_hash, {", ".join(f"summed.{name} AS {name}" for name in SUMS)}
FROM (
    SELECT round_id, model, purpose, template_hash, {", ".join(SUMS)} FROM call_total
    UNION ALL
    SELECT judge_call.round_id AS round_id, judge_call.model AS model, judge_call.purpose AS purpose,
        judge_call.template_hash AS template_hash,
        sum(CASE WHEN judge_call.status = 'answered' THEN 1 ELSE 0 END) AS answered_calls,
        sum(CASE WHEN judge_call.status = 'failed' THEN 1 ELSE 0 END) AS failed_calls,
        {", ".join(f"sum(judge_call.{name}) AS {name}" for name in SUMS[2:])}
    {{of_open}}
    GROUP BY judge_call.round_id, judge_call.model, judge_call.purpose, judge_call.template_hash
) AS summed
JOIN round ON round.id = summed.round_id
JOIN experiment ON experiment.id = round.experiment_id
JOIN template ON template.hash = summed.template_hash
"""
