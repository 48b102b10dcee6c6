"""Demonstrations keep the turns of their conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; demonstrations of before stay without turns, so that requests with them stay the same."""
    op.add_column("demonstration", sa.Column("turns", sa.JSON()))


def downgrade() -> None:
    op.drop_column("demonstration", "turns")
