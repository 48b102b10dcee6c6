"""The path of a distillation run's report, which may be outside the current home folder."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("distillation_run", sa.Column("report_path", sa.Text()))


def downgrade() -> None:
    op.drop_column("distillation_run", "report_path")
