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
