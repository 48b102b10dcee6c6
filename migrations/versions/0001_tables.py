"""The tables of the memory: material, experiments and rounds, verdicts.

A revision that others have run is never edited: a change is a new revision. So the types are spelled out here, and
later changes of cyclealign.tables do not reach back. Names of constraints follow the naming convention of the tables.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_prompts()
    _create_experiments()
    _create_rounds()
    _create_adapters()
    _create_what_rounds_read()
    _create_shown_demonstrations()
    _create_proposed_demonstrations()
    _create_candidates()
    _create_judge_calls()
    _create_rankings()
    _create_measurements()


def downgrade() -> None:
    if not _sqlite():
        op.drop_constraint("fk_round_parent_adapter_id", "round")
    for table in reversed(TABLES):
        op.drop_table(table)


TABLES = (
    *("prompt_set", "prompt", "prompt_set_member", "labelled_list"),
    *("experiment", "round", "adapter"),
    *("template", "round_prompt", "round_template", "demonstration", "round_demonstration"),
    *("demonstration_promotion", "demonstration_retirement"),
    *("candidate", "judge_call"),
    *("ranking", "ranking_place", "agreement"),
    *("metric", "round_step"),
)


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _text(name: str, key: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), primary_key=key, nullable=null)


def _integer(name: str, key: bool = False, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), primary_key=key, nullable=null)


def _big_integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _double(name: str, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=null)


def _json(name: str, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=null)


def _moment(name: str, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _points(column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target])


def _points_to_drawn_prompt() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["round_id", "prompt_id"], ["round_prompt.round_id", "round_prompt.prompt_id"])


def _create_prompts() -> None:
    op.create_table(
        "prompt_set",
        _integer("id", key=True),
        _text("name"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "prompt",
        _text("id", key=True),
        _json("messages"),
        _text("text"),
    )
    op.create_table(
        "prompt_set_member",
        _integer("prompt_set_id", key=True),
        _text("prompt_id", key=True),
        _text("split"),
        _text("source"),
        _points("prompt_set_id", "prompt_set.id"),
        _points("prompt_id", "prompt.id"),
        sa.CheckConstraint("split IN ('train', 'held_out')", name="split"),
    )
    op.create_index("ix_prompt_set_member_prompt_id", "prompt_set_member", ["prompt_id"])
    op.create_table(
        "labelled_list",
        _integer("prompt_set_id", key=True),
        _text("id", key=True),
        _text("prompt_id"),
        _json("answers"),
        _text("source"),
        _points("prompt_set_id", "prompt_set.id"),
        _points("prompt_id", "prompt.id"),
    )
    op.create_index("ix_labelled_list_prompt_id", "labelled_list", ["prompt_id"])


def _create_experiments() -> None:
    op.create_table(
        "experiment",
        _integer("id", key=True),
        _text("name"),
        _big_integer("seed"),
        _moment("created_at"),
        sa.UniqueConstraint("name"),
    )


def _create_rounds() -> None:
    """Round and adapter point to each other: SQLite takes a key to a table yet to come, PostgreSQL one added later."""
    op.create_table(
        "round",
        _integer("id", key=True),
        _integer("experiment_id"),
        _integer("number"),
        _text("status"),
        _text("verdict", null=True),
        _text("reason", null=True),
        _text("owner"),
        _moment("lease_until"),
        _big_integer("seed"),
        _json("settings"),
        _text("base_model"),
        _text("parent_adapter_id", null=True),
        _moment("opened_at"),
        _moment("closed_at", null=True),
        _points("experiment_id", "experiment.id"),
        *([_points("parent_adapter_id", "adapter.id")] if _sqlite() else []),
        sa.CheckConstraint("(status = 'closed') = (verdict IS NOT NULL)", name="closed_means_decided"),
        sa.CheckConstraint("status IN ('open', 'closed')", name="status"),
        sa.CheckConstraint("verdict IN ('accepted', 'rolled_back')", name="verdict"),
        sa.UniqueConstraint("experiment_id", "number"),
    )
    still_open = sa.text("status = 'open'")
    op.create_index(
        "uq_round_one_open",
        "round",
        ["experiment_id"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _create_adapters() -> None:
    op.create_table(
        "adapter",
        _text("id", key=True),
        _integer("round_id"),
        _text("path"),
        _text("content_hash"),
        _text("parent_id", null=True),
        _text("base_model"),
        _moment("created_at"),
        _points("round_id", "round.id"),
        _points("parent_id", "adapter.id"),
        sa.UniqueConstraint("round_id"),
    )
    if not _sqlite():
        op.create_foreign_key("fk_round_parent_adapter_id", "round", "adapter", ["parent_adapter_id"], ["id"])


def _create_what_rounds_read() -> None:
    op.create_table(
        "template",
        _text("hash", key=True),
        _text("name"),
        _text("text"),
        _moment("first_seen_at"),
    )
    op.create_table(
        "round_prompt",
        _integer("round_id", key=True),
        _text("prompt_id", key=True),
        _text("purpose"),
        _integer("position"),
        _text("set_aside_reason", null=True),
        _points("round_id", "round.id"),
        _points("prompt_id", "prompt.id"),
        sa.CheckConstraint("purpose IN ('train', 'held_out')", name="purpose"),
        sa.UniqueConstraint("round_id", "purpose", "position"),
    )
    op.create_index("ix_round_prompt_prompt_id", "round_prompt", ["prompt_id"])
    op.create_table(
        "round_template",
        _integer("round_id", key=True),
        _text("name", key=True),
        _integer("position"),
        _text("template_hash"),
        _points("round_id", "round.id"),
        _points("template_hash", "template.hash"),
        sa.UniqueConstraint("round_id", "position"),
    )
    op.create_index("ix_round_template_template_hash", "round_template", ["template_hash"])


def _create_shown_demonstrations() -> None:
    op.create_table(
        "demonstration",
        _text("id", key=True),
        _text("kind"),
        _text("question"),
        _json("answers"),
        sa.CheckConstraint("kind IN ('static', 'dynamic')", name="kind"),
    )
    op.create_table(
        "round_demonstration",
        _integer("round_id", key=True),
        _integer("position", key=True),
        _text("demonstration_id"),
        _double("tau"),
        _double("chance"),
        _integer("promoted_in_round_number", null=True),
        _points("round_id", "round.id"),
        _points("demonstration_id", "demonstration.id"),
        sa.UniqueConstraint("round_id", "demonstration_id"),
    )
    op.create_index("ix_round_demonstration_demonstration_id", "round_demonstration", ["demonstration_id"])


def _create_proposed_demonstrations() -> None:
    op.create_table(
        "demonstration_promotion",
        _integer("round_id", key=True),
        _text("demonstration_id", key=True),
        _integer("position"),
        _text("prompt_id", null=True),
        _double("tau"),
        _double("chance"),
        _points("round_id", "round.id"),
        _points("demonstration_id", "demonstration.id"),
        _points("prompt_id", "prompt.id"),
    )
    op.create_index("ix_demonstration_promotion_demonstration_id", "demonstration_promotion", ["demonstration_id"])
    op.create_table(
        "demonstration_retirement",
        _integer("round_id", key=True),
        _text("demonstration_id", key=True),
        _points("round_id", "round.id"),
        _points("demonstration_id", "demonstration.id"),
    )
    op.create_index("ix_demonstration_retirement_demonstration_id", "demonstration_retirement", ["demonstration_id"])


def _create_candidates() -> None:
    op.create_table(
        "candidate",
        _text("id", key=True),
        _integer("round_id"),
        _text("prompt_id"),
        _integer("position"),
        _text("text"),
        _json("token_ids"),
        _integer("token_count"),
        _double("logprob_sum"),
        _double("mean_logprob"),
        _text("finish_reason"),
        _text("adapter_id", null=True),
        _json("sampling", null=True),
        _points("round_id", "round.id"),
        _points_to_drawn_prompt(),
        _points("adapter_id", "adapter.id"),
        sa.CheckConstraint("finish_reason IN ('stop', 'length')", name="finish_reason"),
    )
    op.create_index("ix_candidate_round_id_prompt_id", "candidate", ["round_id", "prompt_id"])


def _create_judge_calls() -> None:
    op.create_table(
        "judge_call",
        _integer("id", key=True),
        _integer("experiment_id"),
        _integer("round_id"),
        _text("purpose"),
        _text("subject_id"),
        _text("key"),
        _text("model"),
        _text("template_hash"),
        _json("messages"),
        _json("shown"),
        _json("parameters"),
        _text("status"),
        _text("reply", null=True),
        _text("returned_model", null=True),
        _integer("prompt_tokens"),
        _integer("completion_tokens"),
        _double("cost_usd"),
        _double("seconds"),
        _text("error", null=True),
        _integer("attempts"),
        _moment("asked_at"),
        _moment("answered_at", null=True),
        _points("experiment_id", "experiment.id"),
        _points("round_id", "round.id"),
        _points("template_hash", "template.hash"),
        sa.CheckConstraint("status = 'failed' OR reply IS NOT NULL", name="answered_means_reply"),
        sa.CheckConstraint("status IN ('answered', 'failed')", name="status"),
        sa.UniqueConstraint("experiment_id", "key"),
    )
    op.create_index("ix_judge_call_round_id", "judge_call", ["round_id"])


def _create_rankings() -> None:
    op.create_table(
        "ranking",
        _integer("id", key=True),
        _integer("round_id"),
        _text("prompt_id"),
        _text("ranked_by"),
        _double("steadiness"),
        _points("round_id", "round.id"),
        _points_to_drawn_prompt(),
        sa.CheckConstraint("ranked_by IN ('policy', 'judge', 'agreement')", name="ranked_by"),
        sa.UniqueConstraint("round_id", "prompt_id", "ranked_by"),
    )
    op.create_table(
        "ranking_place",
        _integer("ranking_id", key=True),
        _integer("place", key=True),
        _text("candidate_id"),
        _points("ranking_id", "ranking.id"),
        _points("candidate_id", "candidate.id"),
        sa.UniqueConstraint("ranking_id", "candidate_id"),
    )
    op.create_table(
        "agreement",
        _integer("round_id", key=True),
        _text("prompt_id", key=True),
        _json("agreed"),
        _integer("lcs_length"),
        _integer("answers"),
        _double("chance_probability"),
        _double("tau"),
        _double("weight"),
        _points("round_id", "round.id"),
        _points_to_drawn_prompt(),
    )


def _create_measurements() -> None:
    op.create_table(
        "metric",
        _integer("round_id", key=True),
        _text("name", key=True),
        _double("value"),
        _double("low", null=True),
        _double("high", null=True),
        _integer("count", null=True),
        _text("unit"),
        _points("round_id", "round.id"),
    )
    op.create_table(
        "round_step",
        _integer("round_id", key=True),
        _text("step", key=True),
        _double("seconds"),
        _integer("runs"),
        _points("round_id", "round.id"),
    )
