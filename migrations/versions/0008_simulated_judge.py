"""Rounds that the simulated judge ranked under another model's name carry its own, and a note.

Up to 0.2.0 a config without `judge.kind` ranked with the simulated judge under the name in `judge.model`. Rejudgements
of such a round had a judge of their own, so their calls keep their model.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = "simulated-judge"
ROUND = sa.table("round", sa.column("id", sa.Integer), sa.column("settings", sa.JSON))
CALL = sa.table(
    "judge_call",
    sa.column("round_id", sa.Integer),
    sa.column("purpose", sa.Text),
    sa.column("model", sa.Text),
    sa.column("returned_model", sa.Text),
)
NOTE = sa.table(
    "round_note", sa.column("round_id", sa.Integer), sa.column("about", sa.Text), sa.column("words", sa.Text)
)


def upgrade() -> None:
    connection = op.get_bind()
    for round_id, settings in connection.execute(sa.select(ROUND.c.id, ROUND.c.settings)).all():
        judge = (settings or {}).get("judge") or {}
        given = judge.get("model", NAME)
        if judge.get("kind") != "simulated" or judge.get("base_url") or given == NAME:
            continue
        corrected = {**settings, "judge": {**judge, "model": NAME}}
        connection.execute(ROUND.update().where(ROUND.c.id == round_id).values(settings=corrected))
        mine = (CALL.c.round_id == round_id, CALL.c.purpose != "rejudge", CALL.c.model == given)
        connection.execute(CALL.update().where(*mine, CALL.c.returned_model.is_not(None)).values(returned_model=NAME))
        connection.execute(CALL.update().where(*mine).values(model=NAME))
        words = f"the simulated judge ranked this round under the name '{given}' (judge.kind was not set)"
        connection.execute(NOTE.insert().values(round_id=round_id, about="judge", words=words))


def downgrade() -> None:
    """Leave the names corrected."""
