"""The token ids of a round's prompts, and the thoughts of candidates.

Null in existing rows: their prompts are rendered again, and a thought is part of its answer.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

THOUGHT = {"thought": sa.Text(), "thought_tokens": sa.Integer(), "thought_logprob_sum": sa.Double()}


def upgrade() -> None:
    op.add_column("round_prompt", sa.Column("token_ids", sa.JSON()))
    for name, kind in THOUGHT.items():
        op.add_column("candidate", sa.Column(name, kind))


def downgrade() -> None:
    for name in THOUGHT:
        op.drop_column("candidate", name)
    op.drop_column("round_prompt", "token_ids")
