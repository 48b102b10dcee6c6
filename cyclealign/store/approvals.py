"""Rounds that wait for a person, and what people decided."""

from sqlalchemy import Select, select

from cyclealign import records, tables
from cyclealign.errors import StoreError
from cyclealign.store.approval_rows import Suggested, read_approval
from cyclealign.store.history import require_experiment
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert, now, require_owner


class ApprovalStore(Repository):
    """Rounds that wait for a person. What was decided is never changed: a later decision is added."""

    def ask(self, round_id: int, owner: str, run: str, verdict: Suggested, reason: str, kept: bool) -> None:
        """Record that an open round waits for a person; what its evidence suggests replaces an earlier suggestion.

        Args:
            run: id of the run that asks.

        Raises:
            LeaseLost: the round is closed, or another run holds it.
        """
        table = tables.Approval
        suggested = {"verdict": verdict, "reason": reason, "kept": kept, "run": run}
        with self._database.writing(durable=True) as session:
            require_owner(session, round_id, owner)
            statement = insert(session, table).values(round_id=round_id, asked_at=now(), **suggested)
            session.execute(statement.on_conflict_do_update(index_elements=[table.round_id], set_=suggested))

    def decide(self, experiment: str, choice: records.Choice, comment: str, decided_by: str) -> records.Approval:
        """Store what a person decided about the round of the experiment that waits; return that round.

        Raises:
            NoSuchExperiment: there is no such experiment.
            StoreError: none of its rounds waits for a decision.
        """
        with self._database.writing(durable=True) as session:
            require_experiment(session, experiment)
            # Locked, so that a round that is closed in this moment takes no decision that would have no effect.
            waits = _waiting(experiment).with_for_update(read=True, of=tables.Round)
            round_id = session.scalar(waits)
            if round_id is None:
                raise StoreError(
                    f"No round of experiment '{experiment}' waits for a decision. A round waits if acceptance.approval "
                    "is 'ask', from the end of its evaluation until a run has taken up the decision."
                )
            row = tables.Decision(
                round_id=round_id, choice=choice, comment=comment, decided_by=decided_by, decided_at=now()
            )
            session.add(row)
            session.flush()
            session.expire_all()
            found = read_approval(session, round_id)
            assert found is not None
            return found

    def waiting(self, experiment: str) -> records.Approval | None:
        """Return the open round of the experiment that waits for a person, or that no run has closed since; or None."""
        with self._database.reading() as session:
            round_id = session.scalar(_waiting(experiment))
            return None if round_id is None else read_approval(session, round_id)


def _waiting(experiment: str) -> Select[tuple[int]]:
    return (
        select(tables.Round.id)
        .join(tables.Approval, tables.Approval.round_id == tables.Round.id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .where(tables.Experiment.name == experiment, tables.Round.status == "open")
    )
