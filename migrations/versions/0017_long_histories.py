"""Indexes for long histories, and the sizes of prompt sets, so that neither rows nor sets are read as a whole."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ANSWERED = sa.text("status = 'answered'")
ANSWERED_BY = {"ix_judge_call_answered": ["experiment_id", "key"], "ix_judge_call_answered_key": ["key"]}
# All that the sums over a round's calls read: the rows themselves, with whole requests, are many times as large.
SPENDING = (
    *("round_id", "purpose", "status", "model", "template_hash", "attempts", "prompt_tokens", "completion_tokens"),
    *("cost_usd", "seconds", "estimated_tokens", "estimated_usd"),
)


def upgrade() -> None:
    op.create_index(
        "ix_prompt_set_member_prompt_set_id_split_prompt_id",
        "prompt_set_member",
        ["prompt_set_id", "split", "prompt_id"],
    )
    for name, columns in ANSWERED_BY.items():
        op.create_index(name, "judge_call", columns, sqlite_where=ANSWERED, postgresql_where=ANSWERED)
    op.create_index("ix_judge_call_spending", "judge_call", list(SPENDING))
    op.drop_index("ix_judge_call_round_id", "judge_call")
    for split in ("train", "held_out"):
        op.add_column("prompt_set", sa.Column(split, sa.BigInteger(), nullable=False, server_default="0"))
        op.execute(COUNT.format(split=split))


def downgrade() -> None:
    for split in ("held_out", "train"):
        op.drop_column("prompt_set", split)
    op.create_index("ix_judge_call_round_id", "judge_call", ["round_id"])
    op.drop_index("ix_judge_call_spending", "judge_call")
    for name in ANSWERED_BY:
        op.drop_index(name, "judge_call")
    op.drop_index("ix_prompt_set_member_prompt_set_id_split_prompt_id", "prompt_set_member")


COUNT = """
UPDATE prompt_set SET {split} = (
    SELECT count(*) FROM prompt_set_member
    WHERE prompt_set_member.prompt_set_id = prompt_set.id AND prompt_set_member.split = '{split}'
)
"""
