"""Capabilities of judge endpoints."""

from cyclealign import records, tables
from cyclealign.store.database import Database
from cyclealign.store.statements import insert, now


class EndpointStore:
    """Capabilities of judge endpoints, by address and model."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accepts_json_schema(self, address: str, model: str) -> bool | None:
        """Return whether the endpoint accepts a JSON schema for its replies; None if it was never tried."""
        with self._database.reading() as session:
            row = session.get(tables.JudgeEndpoint, records.content_id("endpoint", address, model))
            return None if row is None else row.json_schema

    def record_json_schema(self, address: str, model: str, taken: bool) -> None:
        """Record whether the endpoint accepts a JSON schema; the address is kept as a hash: it may hold a secret."""
        row = {"id": records.content_id("endpoint", address, model), "model": model, "json_schema": taken}
        row["found_at"] = now()
        with self._database.writing() as session:
            statement = insert(session, tables.JudgeEndpoint).values(row)
            session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))
