"""Group commit: concurrent writers wait until their item is stored, many of them in one transaction."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class GroupCommitter(Generic[T]):
    """Passes all waiting items to ``write`` at once, in a thread of its own.

    Items that arrive during a transaction go into the next one. Use as an async context manager.
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
            Exception: whatever ``write`` raised; nothing of that group was stored.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, stored))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await stored

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(self._thread, self._write, [item for item, _ in group])
            except Exception as error:
                _settle(group, error)
            else:
                _settle(group, None)
        self._writer = None


def _settle(group: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, stored in group:
        if stored.cancelled():
            continue
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)
