"""The base of every part of the store: each public method is one unit of work."""

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any

from cyclealign.store.database import Database


class Repository:
    """One kind of record. A public method that finds the database away is repeated as a whole.

    That is safe as a transaction is committed or not: one whose connection breaks before its commit is rolled back, and
    `Database.writing` finds out about a commit whose answer was lost. A method with several transactions leaves rows
    after each that its repetition finds by their keys.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if isinstance(method, FunctionType) and not name.startswith("_"):
                setattr(cls, name, _repeated(method))


def _repeated(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def repeated(self: Repository, *args: Any, **kwargs: Any) -> Any:
        return self._database.patience.repeat(lambda: method(self, *args, **kwargs))

    return repeated
