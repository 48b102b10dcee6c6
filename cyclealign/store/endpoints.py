"""Capabilities of judge endpoints."""

from datetime import timedelta

from sqlalchemy import select

from cyclealign import records, tables
from cyclealign.store.repository import Repository
from cyclealign.store.statements import insert, now

# An endpoint may change behind its address: then the parameter is tried again, at the cost of one free refusal.
REFUSALS_COUNT_FOR = timedelta(days=30)


class EndpointStore(Repository):
    """Capabilities of judge endpoints, by address and model."""

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

    def refused_parameters(self, address: str, model: str) -> frozenset[str]:
        """Return the request parameters that the endpoint refused within the last 30 days."""
        refusal = tables.EndpointRefusal
        endpoint = records.content_id("endpoint", address, model)
        since = now() - REFUSALS_COUNT_FOR
        with self._database.reading() as session:
            found = select(refusal.parameter).where(refusal.endpoint_id == endpoint, refusal.found_at > since)
            return frozenset(session.scalars(found))

    def record_refusal(self, address: str, model: str, parameter: str, words: str) -> None:
        """Record that the endpoint refuses a request parameter, and its words; the address is kept as a hash."""
        endpoint = records.content_id("endpoint", address, model)
        row = {"endpoint_id": endpoint, "parameter": parameter, "model": model, "words": words, "found_at": now()}
        with self._database.writing() as session:
            statement = insert(session, tables.EndpointRefusal).values(row)
            session.execute(statement.on_conflict_do_update(index_elements=["endpoint_id", "parameter"], set_=row))
