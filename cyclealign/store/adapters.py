"""The adapters that rounds trained."""

from sqlalchemy import select
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

    def of_round(self, round_id: int) -> records.Adapter | None:
        """Return the adapter that the round trained, or None."""
        with self._database.reading() as session:
            return _adapter_of(session, round_id)


def _adapter_of(session: Session, round_id: int) -> records.Adapter | None:
    row = session.scalar(select(tables.Adapter).where(tables.Adapter.round_id == round_id))
    return None if row is None else adapter_record(row)
