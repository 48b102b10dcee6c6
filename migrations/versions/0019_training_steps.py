"""The figures of training steps, and the view ``training_steps``."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

FIGURES = (
    *("loss", "ranking_loss", "sft_loss", "kl_loss"),
    *("grad_norm", "ranking_grad_norm", "sft_grad_norm", "kl_grad_norm"),
    *("learning_rate", "ranking_margin", "ranking_accuracy", "kl_from_parent"),
)


def upgrade() -> None:
    op.create_table(
        "training_step",
        sa.Column("round_id", sa.Integer(), sa.ForeignKey("round.id"), primary_key=True),
        sa.Column("step", sa.Integer(), primary_key=True, autoincrement=False),
        *[sa.Column(name, sa.Double()) for name in FIGURES],
        sa.Column("tokens", sa.BigInteger()),
        sa.Column("seconds", sa.Double()),
    )
    op.execute(TRAINING_STEPS.format(figures=",\n    ".join(f"training_step.{name} AS {name}" for name in FIGURES)))


def downgrade() -> None:
    op.execute("DROP VIEW training_steps")
    op.drop_table("training_step")


TRAINING_STEPS = """
CREATE VIEW training_steps AS
SELECT
    experiment.name AS experiment,
    round.number AS round,
    round.verdict AS verdict,
    training_step.step AS step,
    {figures},
    training_step.tokens AS tokens,
    training_step.seconds AS seconds,
    CASE WHEN training_step.seconds > 0 THEN training_step.tokens / training_step.seconds END AS tokens_per_second
FROM training_step
JOIN round ON round.id = training_step.round_id
JOIN experiment ON experiment.id = round.experiment_id
"""
