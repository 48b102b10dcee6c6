"""Scores of the policy's ranking: further log-probs of candidates, and the score and its values with each ranking.

Null in existing rankings: the policy ranked by the mean log-prob, which the candidates hold. The view ``answers`` has
the scores of all.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "candidate_logprob",
        sa.Column("candidate_id", sa.Text(), sa.ForeignKey("candidate.id"), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("value", sa.Double(), nullable=False),
    )
    op.add_column("ranking", sa.Column("score", sa.Text()))
    op.add_column("ranking", sa.Column("length_slope", sa.Double()))
    op.add_column("ranking_place", sa.Column("score", sa.Double()))
    make_answers(SCORES)


def downgrade() -> None:
    make_answers("")
    op.drop_column("ranking_place", "score")
    op.drop_column("ranking", "length_slope")
    op.drop_column("ranking", "score")
    op.drop_table("candidate_logprob")


def make_answers(scores: str) -> None:
    """Make the view of 0014 again, with or without these columns at its end. PostgreSQL could not drop it below a view
    of a user's.
    """
    dialect = op.get_bind().dialect.name
    replace = dialect == "postgresql" and bool(scores)
    if not replace:
        op.execute("DROP VIEW answers")
    view = ANSWERS.format(
        create="CREATE OR REPLACE" if replace else "CREATE",
        judge_model=JUDGE_MODEL[dialect],
        agreed_ids=AGREED_IDS[dialect],
        judge_place=of_ranking("judge", "ranking_place.place"),
        policy_place=of_ranking("policy", "ranking_place.place"),
        scores=scores,
    )
    op.execute(view)


def of_ranking(ranker: str, value: str) -> str:
    return (
        f"(SELECT {value} FROM ranking"
        " JOIN ranking_place ON ranking_place.ranking_id = ranking.id"
        " WHERE ranking.round_id = candidate.round_id AND ranking.prompt_id = candidate.prompt_id"
        f" AND ranking.ranked_by = '{ranker}' AND ranking_place.candidate_id = candidate.id)"
    )


JUDGE_MODEL = {
    "sqlite": "json_extract(round.settings, '$.judge.model')",
    "postgresql": "round.settings -> 'judge' ->> 'model'",
}
AGREED_IDS = {
    "sqlite": "SELECT value FROM json_each(agreement.agreed)",
    "postgresql": "SELECT json_array_elements_text(agreement.agreed)",
}
SCORES = f""",
    {of_ranking("policy", "COALESCE(ranking_place.score, candidate.mean_logprob)")} AS policy_score,
    {of_ranking("policy", "COALESCE(ranking.score, 'mean_logprob')")} AS policy_score_name"""
ANSWERS = """
{create} VIEW answers AS
SELECT
    experiment.name AS experiment,
    round.number AS round,
    round.verdict AS verdict,
    round_prompt.purpose AS purpose,
    round_prompt.position AS prompt_position,
    candidate.prompt_id AS prompt_id,
    prompt.text AS prompt,
    candidate.position AS position,
    candidate.id AS candidate_id,
    candidate.text AS answer,
    candidate.thought AS thought,
    candidate.token_count AS token_count,
    candidate.thought_tokens AS thought_tokens,
    candidate.logprob_sum AS logprob_sum,
    candidate.mean_logprob AS mean_logprob,
    candidate.finish_reason AS finish_reason,
    {judge_place} AS judge_place,
    {policy_place} AS policy_place,
    CASE WHEN agreement.prompt_id IS NOT NULL THEN candidate.id IN ({agreed_ids}) END AS agreed,
    agreement.tau AS agreement_tau,
    (SELECT count(*) FROM candidate_flag WHERE candidate_flag.candidate_id = candidate.id) AS flag_count,
    (SELECT unjudged_prompt.reason FROM unjudged_prompt WHERE unjudged_prompt.round_id = candidate.round_id
        AND unjudged_prompt.prompt_id = candidate.prompt_id) AS unjudged_reason,
    round_prompt.set_aside_reason AS set_aside_reason,
    candidate.adapter_id AS adapter_id,
    adapter.content_hash AS adapter_hash,
    round.base_model AS base_model,
    {judge_model} AS judge_model,
    (SELECT round_template.template_hash FROM round_template
        WHERE round_template.round_id = round.id AND round_template.name = 'rank') AS template_hash,
    candidate.copied_from AS copied_from{scores}
FROM candidate
JOIN round ON round.id = candidate.round_id
JOIN experiment ON experiment.id = round.experiment_id
JOIN round_prompt ON round_prompt.round_id = candidate.round_id AND round_prompt.prompt_id = candidate.prompt_id
JOIN prompt ON prompt.id = candidate.prompt_id
LEFT JOIN adapter ON adapter.id = candidate.adapter_id
LEFT JOIN agreement ON agreement.round_id = candidate.round_id AND agreement.prompt_id = candidate.prompt_id
"""
