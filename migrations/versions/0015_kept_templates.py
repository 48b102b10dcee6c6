"""Versions of a template that a person keeps, although a rolled-back round used them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_template",
        sa.Column("experiment_id", sa.Integer(), sa.ForeignKey("experiment.id"), primary_key=True),
        sa.Column("template_hash", sa.Text(), sa.ForeignKey("template.hash"), primary_key=True),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("kept_template")
