"""The view ``answers``: one row per answer, with its place by judge and by policy; an index of truncated answers.

Scalar subqueries rather than joins with rankings and flags: they multiply no row, and cost nothing in a query that does
not read them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

JUDGE_MODEL = {
    "sqlite": "json_extract(round.settings, '$.judge.model')",
    "postgresql": "round.settings -> 'judge' ->> 'model'",
}
AGREED_IDS = {
    "sqlite": "SELECT value FROM json_each(agreement.agreed)",
    "postgresql": "SELECT json_array_elements_text(agreement.agreed)",
}


TRUNCATED = sa.text("finish_reason = 'length'")


def upgrade() -> None:
    # Few of many rows: the answers themselves, which are large, would be read to find them.
    op.create_index(
        "ix_candidate_truncated",
        "candidate",
        ["round_id", "prompt_id"],
        sqlite_where=TRUNCATED,
        postgresql_where=TRUNCATED,
    )
    dialect = op.get_bind().dialect.name
    op.execute(
        ANSWERS.format(
            judge_model=JUDGE_MODEL[dialect],
            agreed_ids=AGREED_IDS[dialect],
            judge_place=place_of("judge"),
            policy_place=place_of("policy"),
        )
    )


def downgrade() -> None:
    op.execute("DROP VIEW answers")
    op.drop_index("ix_candidate_truncated", "candidate")


def place_of(ranker: str) -> str:
    return (
        "(SELECT ranking_place.place FROM ranking"
        " JOIN ranking_place ON ranking_place.ranking_id = ranking.id"
        " WHERE ranking.round_id = candidate.round_id AND ranking.prompt_id = candidate.prompt_id"
        f" AND ranking.ranked_by = '{ranker}' AND ranking_place.candidate_id = candidate.id)"
    )


ANSWERS = """
CREATE VIEW answers AS
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
    candidate.copied_from AS copied_from
FROM candidate
JOIN round ON round.id = candidate.round_id
JOIN experiment ON experiment.id = round.experiment_id
JOIN round_prompt ON round_prompt.round_id = candidate.round_id AND round_prompt.prompt_id = candidate.prompt_id
JOIN prompt ON prompt.id = candidate.prompt_id
LEFT JOIN adapter ON adapter.id = candidate.adapter_id
LEFT JOIN agreement ON agreement.round_id = candidate.round_id AND agreement.prompt_id = candidate.prompt_id
"""
