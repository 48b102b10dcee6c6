"""Patience with a database that is away for a while: what may pass, and how long to wait for it."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cyclealign.errors import DatabaseAway, StoreError
from cyclealign.progress import duration

logger = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds, doubled from one try to the next
_SQLITE = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_FULL: "cannot grow: its disk is full. Free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check its disk, which may be full",
}
# By class or code: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "53100": "cannot grow: its disk is full. Free some space",
    "53300": "takes no further connections",
    "57014": "did not answer within database.statement_seconds",
    "55P03": "is locked by another process",
    "25P03": "ended a transaction that was idle for too long",
    "08": "is unreachable",
    "53": "is short of resources",
    "57": "is shutting down or starting",
    "58": "has trouble with its files",
    "40": "asks to repeat a transaction",
}


def passing_trouble(error: Exception) -> str | None:
    """Return a predicate for trouble of the database that may pass, such as "is unreachable"; None for other errors."""
    if isinstance(error, PoolTimeout):
        return "is unreachable"
    if not isinstance(error, DBAPIError):
        return None
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        return None if code is None else _SQLITE.get(code & 0xFF)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    return "is unreachable" if error.connection_invalidated or _of_connection(error) else None


def _of_connection(error: DBAPIError) -> bool:
    """Return whether the driver, not the server, reports the error: no connection could be opened, or it broke."""
    return type(error.orig).__name__ in ("OperationalError", "ConnectionTimeout", "SilentServer", "InterfaceError")


class Patience:
    """Repeats units of work while the database is away; thread-safe.

    Args:
        seconds: the longest wait; it begins anew once the database has answered.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: datetime | None = None
        self._spent = False  # then a run ends, and its last writes do not wait as long once more each
        self._lock = threading.Lock()

    def repeat(self, unit: Callable[[], T]) -> T:
        """Return the result of the unit of work, which is repeated as long as it raises DatabaseAway.

        Raises:
            StoreError: the database was away for longer than these seconds.
        """
        deadline, wait = time.monotonic() + self.seconds, FIRST_WAIT
        while True:
            try:
                result = unit()
            except DatabaseAway as error:
                if self._spent or time.monotonic() + wait > deadline:
                    self._spent = True
                    raise self._too_long(error) from error.__cause__
                self._begin(error, deadline)
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self._end()
                return result

    def _begin(self, error: DatabaseAway, deadline: float) -> None:
        with self._lock:
            if self._since is not None:
                return
            self._since = datetime.now(UTC)
        until = self._since + timedelta(seconds=deadline - time.monotonic())
        logger.warning("%s since %s; waiting until %s UTC.", error.trouble, _clock(self._since), _clock(until))

    def _end(self) -> None:
        self._spent = False
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            away = duration((datetime.now(UTC) - since).total_seconds())
            logger.warning("The database answers again, after %s; the run goes on.", away)

    def _too_long(self, error: DatabaseAway) -> StoreError:
        waited = f" (waited {duration(self.seconds)}: database.patience_seconds)" if self.seconds else ""
        return StoreError(f"{error}{waited}")


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
