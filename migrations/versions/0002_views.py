"""Views for people: the history, the spending and the demonstrations, without knowing the code.

Only SQL that SQLite and PostgreSQL share. A later revision that alters a table drops the views that read it first and
makes them again afterwards: SQLite checks every view when it renames a table.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in VIEWS.values():
        op.execute(statement)


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")


# One row per round: its verdict, its main numbers, and what it cost. A number that was not measured is NULL.
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
    (SELECT count(*) FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.status = 'answered')
        AS judge_calls,
    (SELECT count(*) FROM judge_call WHERE judge_call.round_id = round.id AND judge_call.status = 'failed')
        AS failed_judge_calls,
    (SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM judge_call WHERE judge_call.round_id = round.id)
        AS judge_tokens,
    (SELECT coalesce(sum(cost_usd), 0.0) FROM judge_call WHERE judge_call.round_id = round.id)
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

# The judge's cost, by experiment, round, model, purpose of the call and version of the template.
JUDGE_SPENDING = """
CREATE VIEW judge_spending AS
SELECT
    experiment.name AS experiment,
    round.number AS round,
    judge_call.model AS model,
    judge_call.purpose AS purpose,
    template.name AS template,
    template.hash AS template_hash,
    sum(CASE WHEN judge_call.status = 'answered' THEN 1 ELSE 0 END) AS answered_calls,
    sum(CASE WHEN judge_call.status = 'failed' THEN 1 ELSE 0 END) AS failed_calls,
    sum(judge_call.attempts) AS attempts,
    sum(judge_call.prompt_tokens) AS prompt_tokens,
    sum(judge_call.completion_tokens) AS completion_tokens,
    sum(judge_call.cost_usd) AS cost_usd,
    sum(judge_call.seconds) AS seconds
FROM judge_call
JOIN round ON round.id = judge_call.round_id
JOIN experiment ON experiment.id = judge_call.experiment_id
JOIN template ON template.hash = judge_call.template_hash
GROUP BY experiment.name, round.number, judge_call.model, judge_call.purpose, template.name, template.hash
"""

# Every demonstration that a round promoted (a written, static one: once, with no round). A promotion counts only if
# its round was accepted; retired_in_round is the first accepted round that retired it afterwards.
DEMONSTRATION_HISTORY = """
CREATE VIEW demonstration_history AS
SELECT
    demonstration.question AS question,
    demonstration.answers AS answers_best_first,
    demonstration.kind AS kind,
    experiment.name AS experiment,
    promoting.number AS promoted_in_round,
    promoting.verdict AS verdict_of_that_round,
    (
        SELECT min(retiring.number)
        FROM demonstration_retirement
        JOIN round AS retiring ON retiring.id = demonstration_retirement.round_id
        WHERE demonstration_retirement.demonstration_id = demonstration.id
            AND retiring.experiment_id = promoting.experiment_id
            AND retiring.number >= promoting.number
            AND retiring.verdict = 'accepted'
            AND promoting.verdict = 'accepted'
    ) AS retired_in_round,
    demonstration_promotion.tau AS agreement_tau,
    demonstration_promotion.chance AS chance,
    demonstration.id AS demonstration_id
FROM demonstration
LEFT JOIN demonstration_promotion ON demonstration_promotion.demonstration_id = demonstration.id
LEFT JOIN round AS promoting ON promoting.id = demonstration_promotion.round_id
LEFT JOIN experiment ON experiment.id = promoting.experiment_id
"""

VIEWS = {
    "round_summary": ROUND_SUMMARY,
    "judge_spending": JUDGE_SPENDING,
    "demonstration_history": DEMONSTRATION_HISTORY,
}
