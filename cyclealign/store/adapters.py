"""The adapters that rounds trained."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import StoreError
from cyclealign.store.plans import adapter_record
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert_new, now, require_open, require_owner


class AdapterStore(Repository):
    """Adapters, one a round."""

    def add(
        self, round_id: int, adapter: records.Adapter, base_model: str, owner: str | None = None
    ) -> records.Adapter:
        """Record the adapter of the round, after its folder is complete; return the one that the round has.

        A round has one adapter: if it has one already, that one stays and is returned.

        Args:
            owner: the run that must hold the round; None: not checked.

        Raises:
            LeaseLost: the round is closed, or another run holds it.
            StoreError: the id belongs to the adapter of another round, so this one would be lost.
        """
        row = {
            "id": adapter.id,
            "round_id": round_id,
            "path": adapter.path,
            "content_hash": adapter.content_hash,
            "parent_id": adapter.parent_id,
            "base_model": base_model,
            "created_at": now(),
        }
        with self._database.writing(durable=True) as session:
            if owner is None:
                require_open(session, round_id)
            else:
                require_owner(session, round_id, owner)
            insert_new(session, tables.Adapter, [row], tables.Adapter.id)
            held = _adapter_of(session, round_id)
            if held is None:
                raise StoreError(f"The adapter id {adapter.id} belongs to another round: the id must hash the round.")
            return held

    def round_of(self, adapter_id: str) -> tuple[str, int]:
        """Return the round that trained the adapter: experiment and number.

        Raises:
            StoreError: there is no such adapter.
        """
        row, experiment = tables.Round, tables.Experiment
        found = (
            select(experiment.name, row.number)
            .join(row, row.experiment_id == experiment.id)
            .join(tables.Adapter, tables.Adapter.round_id == row.id)
            .where(tables.Adapter.id == adapter_id)
        )
        with self._database.reading() as session:
            named = session.execute(found).one_or_none()
        if named is None:
            raise StoreError(f"There is no adapter {adapter_id}.")
        return named.name, named.number

    def replace(self, adapter_id: str, path: str, content_hash: str) -> None:
        """Record other weights under the id of an adapter whose own are lost; the caller holds the experiment."""
        changed = update(tables.Adapter).where(tables.Adapter.id == adapter_id)
        with self._database.writing(durable=True) as session:
            session.execute(changed.values(path=path, content_hash=content_hash))

    def of_round(self, round_id: int) -> records.Adapter | None:
        """Return the adapter that the round trained, or None."""
        with self._database.reading() as session:
            return _adapter_of(session, round_id)


def _adapter_of(session: Session, round_id: int) -> records.Adapter | None:
    row = session.scalar(select(tables.Adapter).where(tables.Adapter.round_id == round_id))
    return None if row is None else adapter_record(row)
