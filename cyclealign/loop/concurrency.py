"""Generation and judging at the same time: a producer and a worker that signal one another.

The work items go through the database; only signals pass here. The producer stays in the calling thread, since the
policy's server must belong to a thread that outlives the block; the worker gets a thread of its own.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import CycleAlignError

T = TypeVar("T")

logger = logging.getLogger(__name__)


class OtherSideFailed(CycleAlignError):
    """This side ended early because the other one failed; the other's error is the one to report."""


class WorkSignal:
    """Signals from the producer to the worker, and the order to stop in both directions. Thread-safe."""

    def __init__(self) -> None:
        self._signals: SimpleQueue[bool] = SimpleQueue()  # True: more work may follow; False: the last signal
        self._stopped = threading.Event()
        self._cancel: Callable[[], object] = lambda: None

    @classmethod
    def closed(cls) -> "WorkSignal":
        """Return a signal for work that is complete: the worker looks once."""
        signal = cls()
        signal.close()
        return signal

    @property
    def stopped(self) -> bool:
        """Return whether nothing new may be started."""
        return self._stopped.is_set()

    def notify(self) -> None:
        """Signal that there may be new work."""
        self._signals.put(True)

    def close(self) -> None:
        """Signal that all work is there: the worker looks once more."""
        self._signals.put(False)

    def stop(self) -> None:
        """Order both sides to start nothing new and end."""
        self._stopped.set()
        self._signals.put(False)

    def raise_if_stopped(self) -> None:
        """Check, between two pieces of work, whether to go on.

        Raises:
            OtherSideFailed: the other side has ended.
        """
        if self.stopped:
            raise OtherSideFailed("Stopped early because the other side failed. Stored results are kept.")

    def wait(self) -> bool:
        """Block until there may be new work; return whether more may follow. Pending signals count as one."""
        more = self._signals.get()
        while more:
            try:
                more = self._signals.get_nowait()
            except Empty:
                return True
        return False

    def cancel(self) -> None:
        """Stop, and cancel what is running in `run`."""
        self.stop()
        with suppress(RuntimeError):  # the event loop has just ended by itself
            self._cancel()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in a new event loop that `cancel` can reach from another thread."""

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await work()
            finally:
                self._cancel = lambda: None

        return asyncio.run(cancellable())


async def consume_jobs(
    ask_judge: AskJudge,
    find_jobs: Callable[[], Iterable[Callable[[AskJudge], Awaitable[T]]]],
    signal: WorkSignal,
    max_concurrent: int,
) -> list[T]:
    """Run the jobs that ``find_jobs`` returns at each signal; return their results in the order of finding.

    Each of the at most ``max_concurrent`` running jobs has a call pending or ready, and an early end need not wait for
    all that was found. Jobs that have started are never cancelled by a stop, since their calls are paid.

    Raises:
        OtherSideFailed: the other side failed; the jobs that had started are done.
    """
    slots = asyncio.Semaphore(max_concurrent)
    started: list[asyncio.Task[T]] = []

    async def run(job: Callable[[AskJudge], Awaitable[T]]) -> T:
        try:
            return await job(ask_judge)
        except BaseException:
            signal.stop()
            raise
        finally:
            slots.release()

    try:
        more = True
        while more and not signal.stopped:
            more = await asyncio.to_thread(signal.wait)
            for job in find_jobs():
                await slots.acquire()
                if signal.stopped:
                    break
                started.append(asyncio.create_task(run(job)))
    except asyncio.CancelledError:
        for task in started:
            task.cancel()
        raise
    finally:
        outcomes = await asyncio.gather(*started, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    signal.raise_if_stopped()
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


class BackgroundWorker(Generic[T]):
    """Runs ``work`` in a thread while the block produces items for it and notifies ``signal``.

    When one side fails, the other finishes what it has started (a batch, paid calls) and starts nothing new; the error
    of the side that failed first is raised. A keyboard interrupt counts as a failure of the block; a second one cancels
    what is running.
    """

    def __init__(self, work: Callable[[WorkSignal], T]) -> None:
        self.signal = WorkSignal()
        self._work = work
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="background-worker")

    def __enter__(self) -> Self:
        self._outcome: Future[T] = self._executor.submit(copy_context().run, self._work, self.signal)
        self._outcome.add_done_callback(lambda _: self.signal.stop())
        return self

    def result(self) -> T:
        """Return the result of the work once all of it is done. Call it at the end of the block."""
        self.signal.close()
        return self._outcome.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._outcome.done():
                self.signal.stop()
                logger.info("Stopping. Calls in progress are paid for and will finish; Ctrl-C cancels them.")
            wait([self._outcome])
        except BaseException:
            self.signal.cancel()
            raise
        finally:
            self._executor.shutdown()
        worker_error = self._outcome.exception()
        if isinstance(error, OtherSideFailed) and worker_error is not None:
            raise worker_error from None
        if worker_error is not None and worker_error is not error and not isinstance(worker_error, OtherSideFailed):
            logger.error("The other side failed as well: %s", worker_error)
