"""Asking the judge: many questions at once, each answered once. What follows a reply is up to the one who asks.

A question about one list is a coroutine that awaits an `Asker`; so a way of ranking may look at a reply before it asks
on, and lists need not wait for one another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from cyclealign.clients import Complete
from cyclealign.errors import JudgeCallFailed, JudgeUnavailable
from cyclealign.records import JudgeCall, Reply

T = TypeVar("T")
# The reply to a call; None where the call failed: it is never a verdict.
Asker = Callable[[JudgeCall], Awaitable[Reply | None]]


class Asking:
    """An `Asker` with a memory, and a bound on the calls under way; for use inside one event loop.

    Args:
        complete: asks the judge.
        concurrency: calls under way at most.
        recall: the stored reply to a call, if there is one; it costs nothing.
        on_reply: told of each new reply the moment it is there.
        on_failure: told of each call that failed, and why.
    """

    def __init__(
        self,
        complete: Complete,
        concurrency: int,
        recall: Callable[[JudgeCall], Reply | None],
        on_reply: Callable[[JudgeCall, Reply], None],
        on_failure: Callable[[JudgeCall, str], None],
    ) -> None:
        self._complete, self._recall = complete, recall
        self._on_reply, self._on_failure = on_reply, on_failure
        self._slots = asyncio.Semaphore(concurrency)
        self._asked: dict[str, asyncio.Future[Reply | None]] = {}
        self._gone: JudgeUnavailable | None = None

    async def __call__(self, call: JudgeCall) -> Reply | None:
        """The reply, or None where the call failed. The same request is asked once, however often it is made.

        Raises:
            JudgeUnavailable: no call can succeed; those under way are not cut off, since they will be paid for.
        """
        if call.key not in self._asked:
            self._asked[call.key] = asyncio.ensure_future(self._answer(call))
        return await asyncio.shield(self._asked[call.key])

    async def _answer(self, call: JudgeCall) -> Reply | None:
        if (known := self._recall(call)) is not None:
            return known
        async with self._slots:
            if self._gone:
                raise self._gone
            try:
                reply = await self._complete(call)
            except JudgeCallFailed as error:
                self._on_failure(call, str(error))
                return None
            except JudgeUnavailable as error:
                self._gone = error
                raise
        self._on_reply(call, reply)
        return reply


async def every(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """The results of ``jobs``, run together. An error is raised only when all have ended, so that none is cut off."""
    outcomes = await asyncio.gather(*jobs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
