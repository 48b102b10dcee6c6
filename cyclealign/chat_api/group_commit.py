"""Group commit: concurrent writers wait until their item is stored, many of them in one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class GroupCommitter(Generic[T]):
    """Passes all waiting items to ``write`` at once, in a thread of its own.

    Items that arrive during a transaction go into the next one. A group that cannot be written is written item by item,
    so that no item is lost with another. Use as an async context manager.
    """

    def __init__(self, write: Callable[[Sequence[T]], None]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "group-commit")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            await self._writer
        self._thread.shutdown()

    async def record(self, item: T) -> None:
        """Return once ``item`` is stored.

        Raises:
            Exception: the error of ``write`` for this item alone.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, stored))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await stored

    async def _write_all(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            error = await self._error_of(group)
            if error is None or len(group) == 1:
                _settle(group, error)
                continue
            for one in group:  # the group failed as a whole, perhaps for one item of it
                _settle([one], await self._error_of([one]))
        self._writer = None

    async def _error_of(self, group: Sequence[tuple[T, asyncio.Future[None]]]) -> Exception | None:
        """Write the items in one transaction; return the error, None if they are stored."""
        items = [item for item, _ in group]
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, items)
        except Exception as error:
            return error
        return None


def _settle(group: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, stored in group:
        if stored.cancelled():
            continue
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)
