"""Totals of closed rounds: numbers of prompts and answers, and sums over judge calls.

``judge_spending`` reads them, and the calls of open rounds; ``round_summary`` gets its expressions when the database is
opened.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COUNTS = (
    *("prompts", "held_out_prompts", "prompts_judged", "prompts_unjudged", "prompts_set_aside", "answers"),
    "held_out_answers",
)
SUMS = ("answered_calls", "failed_calls", "attempts", "prompt_tokens", "completion_tokens", "cost_usd", "seconds")
SUMS = (*SUMS, "estimated_tokens", "estimated_usd")
DOUBLE = ("cost_usd", "seconds", "estimated_usd")


def upgrade() -> None:
    op.create_table(
        "round_total",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
    )
    op.create_table(
        "call_total",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("purpose", sa.Text(), primary_key=True),
        sa.Column("template_hash", sa.Text(), sa.ForeignKey("template.hash"), primary_key=True),
        sa.Column("first_call", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Double() if name in DOUBLE else sa.BigInteger(), nullable=False) for name in SUMS),
    )
    op.execute(ROUND_TOTALS)
    op.execute(CALL_TOTALS)
    make_judge_spending(SPENDING_BY_TOTALS)


def downgrade() -> None:
    make_judge_spending(SPENDING_BY_CALLS)
    op.drop_table("call_total")
    op.drop_table("round_total")


def make_judge_spending(select: str) -> None:
    """Make the view again. PostgreSQL could not drop it below a view of a user's."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"CREATE OR REPLACE VIEW judge_spending AS {select}")
        return
    op.execute("DROP VIEW judge_spending")
    op.execute(f"CREATE VIEW judge_spending AS {select}")


DRAWN = "SELECT count(*) FROM round_prompt WHERE round_prompt.round_id = round.id AND round_prompt"
ANSWERS = (
    "SELECT count(*) FROM round_prompt JOIN candidate ON candidate.round_id = round_prompt.round_id"
    " AND candidate.prompt_id = round_prompt.prompt_id"
    " WHERE round_prompt.round_id = round.id AND round_prompt"
)
ROUND_TOTALS = f"""
INSERT INTO round_total (round_id, {", ".join(COUNTS)})
SELECT round.id,
    ({DRAWN}.purpose = 'train'),
    ({DRAWN}.purpose = 'held_out'),
    (SELECT count(*) FROM ranking WHERE ranking.round_id = round.id AND ranking.ranked_by = 'judge'),
    (SELECT count(*) FROM unjudged_prompt WHERE unjudged_prompt.round_id = round.id),
    ({DRAWN}.set_aside_reason IS NOT NULL),
    ({ANSWERS}.purpose = 'train'),
    ({ANSWERS}.purpose = 'held_out')
FROM round WHERE round.status = 'closed'
"""
GROUPS = """
SELECT judge_call.round_id AS round_id, judge_call.model AS model, judge_call.purpose AS purpose,
    judge_call.template_hash AS template_hash, {first}
    sum(CASE WHEN judge_call.status = 'answered' THEN 1 ELSE 0 END) AS answered_calls,
    sum(CASE WHEN judge_call.status = 'failed' THEN 1 ELSE 0 END) AS failed_calls,
    sum(judge_call.attempts) AS attempts, sum(judge_call.prompt_tokens) AS prompt_tokens,
    sum(judge_call.completion_tokens) AS completion_tokens, sum(judge_call.cost_usd) AS cost_usd,
    sum(judge_call.seconds) AS seconds, sum(judge_call.estimated_tokens) AS estimated_tokens,
    sum(judge_call.estimated_usd) AS estimated_usd
FROM judge_call JOIN round ON round.id = judge_call.round_id
WHERE round.status = '{status}'
GROUP BY judge_call.round_id, judge_call.model, judge_call.purpose, judge_call.template_hash
"""
CALL_TOTALS = (
    f"INSERT INTO call_total (round_id, model, purpose, template_hash, first_call, {', '.join(SUMS)}) "
    + GROUPS.format(first="min(judge_call.id) AS first_call,", status="closed")
)
NAMES = "experiment.name AS experiment, round.number AS round"
SPENDING_BY_TOTALS = f"""
SELECT {NAMES}, summed.model AS model, summed.purpose AS purpose, template.name AS template,
    template.hash AS template_hash, {", ".join(f"summed.{name} AS {name}" for name in SUMS)}
FROM (
    SELECT round_id, model, purpose, template_hash, {", ".join(SUMS)} FROM call_total
    UNION ALL
    {GROUPS.format(first="", status="open")}
) AS summed
JOIN round ON round.id = summed.round_id
JOIN experiment ON experiment.id = round.experiment_id
JOIN template ON template.hash = summed.template_hash
"""
SPENDING_BY_CALLS = f"""
SELECT {NAMES}, judge_call.model AS model, judge_call.purpose AS purpose, template.name AS template,
    template.hash AS template_hash,
    sum(CASE WHEN judge_call.status = 'answered' THEN 1 ELSE 0 END) AS answered_calls,
    sum(CASE WHEN judge_call.status = 'failed' THEN 1 ELSE 0 END) AS failed_calls,
    {", ".join(f"sum(judge_call.{name}) AS {name}" for name in SUMS[2:])}
FROM judge_call
JOIN round ON round.id = judge_call.round_id
JOIN experiment ON experiment.id = judge_call.experiment_id
JOIN template ON template.hash = judge_call.template_hash
GROUP BY experiment.name, round.number, judge_call.model, judge_call.purpose, template.name, template.hash
"""
