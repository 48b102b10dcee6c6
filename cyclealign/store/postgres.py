"""Connections to PostgreSQL that notice a dead peer, and the outcome of a commit whose answer was lost."""

import time
from collections.abc import Generator
from typing import Any, NamedTuple

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.orm import Session

# A silent peer is dead after 10 + 3 x 5 seconds, well before a lease expires; the default of the kernel is two hours.
SILENCE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
CONNECT_SECONDS = 10
UNANSWERED_MILLISECONDS = 25_000  # sent, but not acknowledged by the other host
# The server's side of the same: a backend whose client is gone would hold its locks.
SERVER_SILENCE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}


class Commit(NamedTuple):
    """A transaction about to be committed: its id and the process id of its backend on the server."""

    transaction: str
    backend: int


def make_engine(url: URL, statement_seconds: float | None, json_serializer: Any) -> Engine:
    """Return an engine of PostgreSQL.

    Args:
        statement_seconds: a statement that takes longer is cancelled by the server, or its connection is closed if the
            server does not answer at all; None: no limit.

    Raises:
        ModuleNotFoundError: the driver is missing.
    """
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": UNANSWERED_MILLISECONDS}
    # The URL may say otherwise.
    given = {name: value for name, value in {**SILENCE, **limits}.items() if name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=given, json_serializer=json_serializer)

    @event.listens_for(engine, "do_connect")
    def open_connection(dialect: Any, record: Any, arguments: Any, parameters: Any) -> Any:
        return _connection_class(statement_seconds).connect(*arguments, **parameters)

    @event.listens_for(engine, "connect")
    def set_limits(connection: Any, record: Any) -> None:
        settings: dict[str, int] = dict(SERVER_SILENCE)
        if statement_seconds is not None:
            settings["statement_timeout"] = round(statement_seconds * 1000)
            settings["idle_in_transaction_session_timeout"] = round(statement_seconds * 1000)
        with connection.cursor() as cursor:
            for name, value in settings.items():
                cursor.execute(f"SET {name} = {value}")
        connection.commit()

    return engine


def _connection_class(seconds: float | None) -> Any:
    """Return psycopg's class of connections, with a limit to the time for which the server may send nothing."""
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
            if seconds is None:
                return super().wait(gen, *args, **kwargs)
            try:
                # Later than the server's own limit, which names the cause.
                return super().wait(_bounded(gen, seconds + 1.0), *args, **kwargs)
            except SilentServer:
                self.close()  # the answer to this statement must not be taken for that to the next one
                raise

    class SilentServer(psycopg.OperationalError):
        pass

    def _bounded(gen: Any, seconds: float) -> Generator[Any, Any, Any]:
        """Pass on what the generator waits for; raise SilentServer if nothing arrives for so long."""
        deadline = time.monotonic() + seconds
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                if ready:
                    deadline = time.monotonic() + seconds
                elif time.monotonic() > deadline:
                    raise SilentServer(f"no answer for {seconds:.0f} seconds")
                awaited = gen.send(ready)
        except StopIteration as end:
            return end.value

    return BoundedConnection


def pending_commit(session: Session) -> Commit | None:
    """Return what identifies the session's transaction on the server; None if it has written nothing."""
    session.flush()
    row = session.execute(text("SELECT pg_current_xact_id_if_assigned()::text, pg_backend_pid()")).one()
    return None if row[0] is None else Commit(row[0], row[1])


def was_committed(engine: Engine, commit: Commit) -> bool:
    """Return whether a transaction was committed whose connection was lost; one still open is ended by the server.

    Raises:
        DBAPIError: the server does not answer.
        LookupError: the server no longer knows.
    """
    status = text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
    end = text(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE pid = :backend AND backend_xid = CAST(CAST(:transaction AS xid8) AS xid)"
    )
    with engine.connect() as connection:
        found = connection.execute(status, {"transaction": commit.transaction}).scalar()
        if found == "in progress":
            connection.execute(end, commit._asdict())
            found = connection.execute(status, {"transaction": commit.transaction}).scalar()
    if found not in ("committed", "aborted"):
        raise LookupError(f"transaction {commit.transaction}: {found}")
    return bool(found == "committed")
