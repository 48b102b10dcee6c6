"""Log-probs of a round's candidates beyond those of generation: under other weights, or other contexts."""

from collections.abc import Mapping

from sqlalchemy import select

from cyclealign import tables
from cyclealign.store.database import Database
from cyclealign.store.statements import insert_quietly, require_open


class LogprobStore:
    """Further log-probs of candidates, by kind."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, round_id: int, kind: str, values: Mapping[str, float]) -> None:
        """Add log-probs in nats by candidate id, all or none; an existing one stays as it is.

        Raises:
            LeaseLost: the round is closed.
        """
        with self._database.writing() as session:
            require_open(session, round_id)
            rows = [{"candidate_id": each, "kind": kind, "value": value} for each, value in values.items()]
            insert_quietly(session, tables.CandidateLogprob, rows)

    def of_round(self, round_id: int, kind: str) -> dict[str, float]:
        """Return the log-probs of this kind of the round's candidates, by candidate id."""
        stored, candidate = tables.CandidateLogprob, tables.Candidate
        with self._database.reading() as session:
            found = session.execute(
                select(stored.candidate_id, stored.value)
                .join(candidate, candidate.id == stored.candidate_id)
                .where(candidate.round_id == round_id, stored.kind == kind)
            )
            return dict(found.tuples().all())
