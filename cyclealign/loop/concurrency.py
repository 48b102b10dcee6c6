"""Two sides of a round at work at once: one makes things, the other works on what is there already.

The things themselves go through the database; what passes here is only a bell. The maker stays in the calling thread
(what a policy starts, such as a server, must belong to a thread that lasts), the other side gets a thread of its own.
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


class Stopped(CycleAlignError):
    """This side ended early because the other one did; it is the other's error that counts."""


class WorkSignal:
    """Tells the side that works on things when to look for new ones, and either side that it should end."""

    def __init__(self) -> None:
        self._rings: SimpleQueue[bool] = SimpleQueue()
        self._stopped = threading.Event()
        self._abandon: Callable[[], object] = lambda: None

    @classmethod
    def after_the_last(cls) -> "WorkSignal":
        """A bell for when everything is there: one look, and no more."""
        bell = cls()
        bell.finish()
        return bell

    @property
    def stopped(self) -> bool:
        """Whether nothing new should be begun."""
        return self._stopped.is_set()

    def ring(self) -> None:
        """There may be something new."""
        self._rings.put(True)

    def finish(self) -> None:
        """Everything is there; one last look."""
        self._rings.put(False)

    def stop(self) -> None:
        """Begin nothing new, and end."""
        self._stopped.set()
        self._rings.put(False)

    def go_on(self) -> None:
        """Between two pieces of work: raise Stopped if the other side has ended."""
        if self.stopped:
            raise Stopped("Stopped early, since the other side failed. What was stored is kept: run again to go on.")

    def wait(self) -> bool:
        """Block until there is a reason to look; whether there may be more after that look. Rings do not add up."""
        more = self._rings.get()
        while more:
            try:
                more = self._rings.get_nowait()
            except Empty:
                return True
        return False

    def abandon(self) -> None:
        """Cut off what is under way as well."""
        self.stop()
        with suppress(RuntimeError):  # the loop has just ended by itself
            self._abandon()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` in an event loop of its own that `abandon` can reach."""

        async def reachable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            self._abandon = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await work()
            finally:
                self._abandon = lambda: None

        return asyncio.run(reachable())


async def as_they_come(
    ask_judge: AskJudge,
    look: Callable[[], Iterable[Callable[[AskJudge], Awaitable[T]]]],
    bell: WorkSignal,
    at_once: int,
) -> list[T]:
    """The results of the jobs that ``look`` finds each time the bell rings, in the order in which they were found.

    At most ``at_once`` jobs are under way: each has a question out or ready, and an early end need not wait for all
    that was found. Jobs that were begun are never cut off, since their calls are paid.

    Raises:
        Stopped: the other side failed; what was begun is done.
    """
    slots = asyncio.Semaphore(at_once)
    begun: list[asyncio.Task[T]] = []

    async def run(job: Callable[[AskJudge], Awaitable[T]]) -> T:
        try:
            return await job(ask_judge)
        except BaseException:
            bell.stop()
            raise
        finally:
            slots.release()

    try:
        more = True
        while more and not bell.stopped:
            more = await asyncio.to_thread(bell.wait)
            for job in look():
                await slots.acquire()
                if bell.stopped:
                    break
                begun.append(asyncio.create_task(run(job)))
    except asyncio.CancelledError:
        for task in begun:
            task.cancel()
        raise
    finally:
        outcomes = await asyncio.gather(*begun, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    bell.go_on()
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


class BackgroundWorker(Generic[T]):
    """``work`` in a thread of its own while the block runs, which makes what is worked on and rings ``bell``.

    When one side fails, the other ends what it has begun (a batch, calls that are paid) and begins nothing new; the
    error of the side that failed first is raised. An interrupt from the keyboard counts as a failure of the block; a
    second one cuts off what is under way.
    """

    def __init__(self, work: Callable[[WorkSignal], T]) -> None:
        self.bell = WorkSignal()
        self._work = work
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="beside")

    def __enter__(self) -> Self:
        self._outcome: Future[T] = self._executor.submit(copy_context().run, self._work, self.bell)
        self._outcome.add_done_callback(lambda _: self.bell.stop())
        return self

    def result(self) -> T:
        """What came of the work, once it is done with everything; at the end of the block."""
        self.bell.finish()
        return self._outcome.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._outcome.done():
                self.bell.stop()
                logger.info("Ending; what is under way is awaited, since it is paid for (Ctrl-C cuts it off).")
            wait([self._outcome])
        except BaseException:
            self.bell.abandon()
            raise
        finally:
            self._executor.shutdown()
        others = self._outcome.exception()
        if isinstance(error, Stopped) and others is not None:
            raise others from None
        if others is not None and others is not error and not isinstance(others, Stopped):
            logger.error("The other side failed as well: %s", others)
