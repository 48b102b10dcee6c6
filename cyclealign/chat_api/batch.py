"""The provider's batch API: many calls in one file, cheaper, with replies within a day.

`BatchClient.complete` is a `Complete` like `JudgeClient.complete`; only the latency differs. Each batch is logged
before it is submitted, under a token that travels with it. A killed run, or one that got no reply to the creation,
therefore finds its batch again. A call is submitted again only if its batch has no reply to it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import uuid4

from cyclealign.chat_api.batch_api import RUNNING, BatchApi, BatchState, Result, batches_of
from cyclealign.chat_api.client import JudgeClient
from cyclealign.config import JudgeSettings
from cyclealign.errors import CallForbidden, JudgeBusy, JudgeCallFailed, JudgeError, JudgeFaltered, JudgeUnavailable
from cyclealign.records import Batch, JudgeCall, Reply

logger = logging.getLogger(__name__)

MAX_OUTAGE_WAIT_SECONDS = 300.0
T = TypeVar("T")
# Results of the calls in one batch, by the call's key.
Results = Mapping[str, asyncio.Future[Result | Exception]]


class BatchLog(Protocol):
    """A record of submitted batches that outlives the process."""

    def begin(self, token: str, keys: Sequence[str]) -> None:
        """Record that the calls with these keys are about to be submitted."""

    def set_id(self, token: str, batch_id: str) -> None:
        """Record the provider's id of the batch."""

    def end(self, token: str) -> None:
        """Record that all replies of the batch are stored."""

    def pending(self) -> list[Batch]:
        """Return the batches that have begun and not ended."""


class BatchClient:
    """Collects calls until none comes for a while, submits them as one batch, and polls for the replies.

    Use as an async context manager around all calls. If the block ends without an error, its replies are stored and
    its batches end, except those with replies that no call has asked for; after an error all of them stay pending in
    the log. The next run fetches the replies of pending batches again.
    """

    def __init__(self, client: JudgeClient, log: BatchLog, settings: JudgeSettings) -> None:
        self._api, self._log, self._settings = BatchApi(client), log, settings
        # By key: the results that no call has taken yet, of one batch after the other. An earlier run may have
        # submitted a call again, because the first batch had no reply to it.
        self._results: dict[str, list[asyncio.Future[Result | Exception]]] = {}
        self._collected: list[JudgeCall] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._submitted: dict[str, Results] = {}
        self._taken: set[asyncio.Future[Result | Exception]] = set()

    async def __aenter__(self) -> Self:
        for batch in await asyncio.to_thread(self._log.pending):
            results = self._submitted[batch.token] = {key: self._expect(key) for key in batch.keys}
            self._start(self._resume(batch, results), results)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if error is None:
            for token, results in self._submitted.items():
                if not any(self._has_reply_left(result) for result in results.values()):
                    await asyncio.to_thread(self._log.end, token)

    async def complete(self, call: JudgeCall) -> Reply:
        """Return the reply to this call, from a pending batch or from the next one.

        Raises:
            JudgeFaltered: the batch, or this call in it, failed.
            JudgeCallFailed: this call failed, and would fail again.
            JudgeUnavailable: the provider refuses all calls, or its batch API does not work for too long.
        """
        if call.key not in self._results:
            self._expect(call.key)
            self._collected.append(call)
            self._restart_timer()
        waiting = self._results[call.key][0]
        result = await asyncio.shield(waiting)
        self._taken.add(waiting)
        if isinstance(result, Reply):
            return result
        later = [other for other in self._results.pop(call.key, []) if other is not waiting]
        if later:
            self._results[call.key] = later  # for a retry, which is submitted again only if there is none
        raise result

    def _expect(self, key: str) -> asyncio.Future[Result | Exception]:
        """Return a new future for a result of the call, after those of earlier batches."""
        waiting: asyncio.Future[Result | Exception] = asyncio.get_running_loop().create_future()
        self._results.setdefault(key, []).append(waiting)
        return waiting

    def _has_reply_left(self, result: asyncio.Future[Result | Exception]) -> bool:
        """Return whether there is, or may come, a reply that no call has taken."""
        return result not in self._taken and not (result.done() and isinstance(result.result(), JudgeCallFailed))

    def _restart_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        window = self._settings.batch_window_seconds
        self._timer = asyncio.get_running_loop().call_later(window, self._submit_collected)

    def _submit_collected(self) -> None:
        collected, self._collected = self._collected, []
        for calls in batches_of(collected):
            results = {call.key: self._results[call.key][0] for call in calls}
            self._start(self._submit(calls, results), results)

    def _start(self, work: Awaitable[None], results: Results) -> None:
        """Run ``work`` as a task; if it fails, each of the calls fails with its error."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                _settle(results.values(), error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit(self, calls: Sequence[JudgeCall], results: Results) -> None:
        token = uuid4().hex
        await asyncio.to_thread(self._log.begin, token, list(results))
        self._submitted[token] = results
        file_id = await self._steadily("upload", lambda: self._api.upload(token, calls))
        batch_id = await self._steadily("create", lambda: self._create_once(token, file_id))
        await asyncio.to_thread(self._log.set_id, token, batch_id)
        await self._follow(batch_id, results)

    async def _create_once(self, token: str, file_id: str) -> str:
        """Create the batch; if no reply comes, the batch may exist: look for it before an error is raised."""
        try:
            return await self._api.create(token, file_id)
        except JudgeFaltered as error:
            if error.unreachable:
                raise
            logger.warning("No reply to the creation of a batch (%s): looking for it by its token.", error)
            if (batch_id := await self._search(token)) is None:
                raise
            return batch_id

    async def _search(self, token: str) -> str | None:
        """Return the id of the batch with this token; None if it is not listed for ``batch_search_seconds``."""
        clock, settings = asyncio.get_running_loop().time, self._settings
        until = clock() + settings.batch_search_seconds
        while True:
            batch_id = await self._steadily("list", lambda: self._api.find(token))
            if batch_id is not None or (left := until - clock()) <= 0:
                return batch_id
            await asyncio.sleep(min(settings.batch_poll_seconds, left))

    async def _resume(self, batch: Batch, results: Results) -> None:
        batch_id = batch.batch_id or await self._search(batch.token)
        if batch_id is None:
            return _settle(results.values(), JudgeFaltered("The batch never reached the provider."))
        if batch.batch_id is None:
            await asyncio.to_thread(self._log.set_id, batch.token, batch_id)
        await self._follow(batch_id, results)
        return None

    async def _follow(self, batch_id: str, results: Results) -> None:
        """Poll until the batch has ended, and settle its calls: those with a result first, whatever its end."""
        state = await self._state(batch_id)
        while state is not None and state.status in RUNNING:
            await asyncio.sleep(self._settings.batch_poll_seconds)
            state = await self._state(batch_id)
        if state is None:
            return _settle(results.values(), JudgeFaltered("The provider no longer has the batch."))
        for file_id in state.file_ids:
            read = await self._unless_gone("read", lambda file_id=file_id: self._api.results(file_id))  # type: ignore[misc]
            for key, result in (read or {}).items():
                _settle([results[key]] if key in results else [], result)
        missing = JudgeFaltered(f"The batch ended as '{state.status}' without a result for this call.")
        _settle(results.values(), state.problem or missing)
        return None

    async def _state(self, batch_id: str) -> BatchState | None:
        return await self._unless_gone("poll", lambda: self._api.state(batch_id))

    async def _unless_gone(self, name: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of a request; None if the provider answers 404 for ``batch_search_seconds``.

        An object that was just made may not be found yet.

        Raises:
            JudgeUnavailable: access is refused, which says nothing about the batch; it stays recorded.
        """
        clock, settings = asyncio.get_running_loop().time, self._settings
        until = clock() + settings.batch_search_seconds
        while True:
            try:
                return await self._steadily(name, ask)
            except CallForbidden as error:
                if not error.missing:
                    raise JudgeUnavailable(f"The batch API refuses to {name}. {error} {error.advice}") from None
                if (left := until - clock()) <= 0:
                    return None
            await asyncio.sleep(min(settings.batch_poll_seconds, left))

    async def _steadily(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a request that may be repeated, through an outage of ``batch_max_outage_seconds``.

        Raises:
            JudgeUnavailable: the outage lasts longer; the batches stay recorded.
        """
        clock, settings = asyncio.get_running_loop().time, self._settings
        began, wait = clock(), settings.batch_poll_seconds
        while True:
            try:
                return await ask()
            except (JudgeFaltered, JudgeBusy) as error:
                pause = wait
                if isinstance(error, JudgeBusy) and error.wait_seconds is not None:
                    pause = error.wait_seconds
                if clock() + pause - began > settings.batch_max_outage_seconds:
                    raise JudgeUnavailable(_outage(name, settings.batch_max_outage_seconds, error)) from None
                logger.warning("The batch API fails to %s: %s It is asked again in %g s.", name, error, pause)
                await asyncio.sleep(pause)
                wait = min(2 * wait, max(MAX_OUTAGE_WAIT_SECONDS, settings.batch_poll_seconds))


def _settle(waiting: Iterable[asyncio.Future[Result | Exception]], result: Result | Exception) -> None:
    """Give the result to the calls that have none yet."""
    for one in waiting:
        if not one.done():
            one.set_result(result)


def _outage(name: str, max_seconds: float, error: JudgeError) -> str:
    return (
        f"The provider's batch API fails to {name} for longer than judge.batch_max_outage_seconds = {max_seconds:g}: "
        f"{error} Submitted batches stay recorded: rerun later, and their replies are fetched."
    )
