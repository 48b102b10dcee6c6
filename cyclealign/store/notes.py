"""Notes on a round for readers of the history."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from cyclealign import tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert


class NoteStore(Repository):
    """Notes on rounds."""

    def record(self, round_id: int, about: str, words: str) -> None:
        """Record a note on the round; an earlier one on the same subject is replaced."""
        with self._database.writing() as session:
            row = {"round_id": round_id, "about": about, "words": words}
            statement = insert(session, tables.RoundNote).values(row)
            session.execute(
                statement.on_conflict_do_update(index_elements=["round_id", "about"], set_={"words": words})
            )


def read_notes(session: Session, round_id: int) -> dict[str, str]:
    """Return the notes on the round by subject."""
    table = tables.RoundNote
    found = session.execute(select(table.about, table.words).where(table.round_id == round_id).order_by(table.about))
    return {row.about: row.words for row in found}


def read_all_notes(session: Session, experiment: str, first: int = 1) -> dict[int, dict[str, str]]:
    """Return the notes on an experiment's rounds from the one with number ``first`` on, by round id and subject."""
    table, row = tables.RoundNote, tables.Round
    found = session.execute(
        select(table.round_id, table.about, table.words)
        .join(row, row.id == table.round_id)
        .join(tables.Experiment, tables.Experiment.id == row.experiment_id)
        .where(tables.Experiment.name == experiment, row.number >= first)
        .order_by(table.round_id, table.about)
    )
    by_round: dict[int, dict[str, str]] = {}
    for round_id, about, words in found:
        by_round.setdefault(round_id, {})[about] = words
    return by_round
