"""Notes on rounds, lists that people are asked to rank, and rounds put to another judge."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Calls of a round; those of later rejudgements are counted in judge_spending only.
NOT_REJUDGED = " AND judge_call.purpose <> 'rejudge'"

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
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("template_hash", sa.Text(), sa.ForeignKey("template.hash"), nullable=False),
        sa.Column("demonstrations", sa.Text(), nullable=False),
        sa.Column("lists", sa.Integer(), nullable=False),
        sa.Column("unread", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("flips", sa.Double()),
        sa.Column("flips_low", sa.Double()),
        sa.Column("flips_high", sa.Double()),
        sa.Column("tau", sa.Double(), nullable=False),
        sa.Column("tau_low", sa.Double(), nullable=False),
        sa.Column("tau_high", sa.Double(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_rejudgement_round_id", "rejudgement", ["round_id"])
    make_round_summary(NOT_REJUDGED)


def downgrade() -> None:
    make_round_summary("")
    for table in reversed(TABLES):
        op.drop_table(table)


def make_round_summary(counted: str) -> None:
    op.execute("DROP VIEW round_summary")
    op.execute(ROUND_SUMMARY.format(counted=counted))


# As in 0002, with a condition on the calls that count.
ROUND_SUMMARY = """
CREATE VIEW round_summary AS
SELECT
    experiment.name AS experiment,
    round.number AS number,
    round.status AS status,
    round.verdict AS verdict,
    round.reason AS reason,
    agreement_tau.value AS agreement_tau,
    agreement_chance.value AS agreement_chance,
    judge_accuracy.value AS judge_accuracy,
    judge_accuracy.low AS judge_accuracy_low,
    judge_accuracy.high AS judge_accuracy_high,
    win_rate.value AS win_rate,
    win_rate.low AS win_rate_low,
    win_rate.high AS win_rate_high,
    gold_quality.value AS gold_quality,
    gold_quality.low AS gold_quality_low,
    gold_quality.high AS gold_quality_high,
    (SELECT count(*) FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.status = 'answered'{counted})
        AS judge_calls,
    (SELECT count(*) FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.status = 'failed'{counted})
        AS failed_judge_calls,
    (SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM judge_call
        WHERE judge_call.round_id = round.id{counted})
        AS judge_tokens,
    (SELECT coalesce(sum(cost_usd), 0.0) FROM judge_call WHERE judge_call.round_id = round.id{counted})
        AS cost_usd,
    (SELECT sum(seconds) FROM round_step WHERE round_step.round_id = round.id)
        AS seconds,
    (SELECT count(*) FROM demonstration_promotion WHERE demonstration_promotion.round_id = round.id)
        AS demonstrations_promoted,
    (SELECT count(*) FROM round_prompt WHERE round_prompt.round_id = round.id AND set_aside_reason IS NOT NULL)
        AS prompts_set_aside,
    adapter.path AS adapter_path,
    round.base_model AS base_model,
    round.opened_at AS opened_at,
    round.closed_at AS closed_at
FROM round
JOIN experiment ON experiment.id = round.experiment_id
LEFT JOIN adapter ON adapter.round_id = round.id
LEFT JOIN metric AS agreement_tau ON agreement_tau.round_id = round.id AND agreement_tau.name = 'agreement_tau'
LEFT JOIN metric AS agreement_chance
    ON agreement_chance.round_id = round.id AND agreement_chance.name = 'agreement_chance'
LEFT JOIN metric AS judge_accuracy ON judge_accuracy.round_id = round.id AND judge_accuracy.name = 'judge_accuracy'
LEFT JOIN metric AS win_rate ON win_rate.round_id = round.id AND win_rate.name = 'win_rate'
LEFT JOIN metric AS gold_quality ON gold_quality.round_id = round.id AND gold_quality.name = 'gold_quality'
"""
