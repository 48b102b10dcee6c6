"""The provider's batch API: many calls in one file, cheaper, with replies within a day.

`BatchClient.complete` is a `Complete` like `JudgeClient.complete`; only the latency differs. Each batch is logged
before it is submitted, under a token that travels with it. A killed run therefore finds its batch again, even if it
never learned the provider's id, and nothing is submitted twice.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

import openai
from openai import AsyncOpenAI

from cyclealign.chat_api.client import JudgeClient, request_body
from cyclealign.errors import JudgeCallFailed, JudgeFaltered, RequestRefused
from cyclealign.records import Batch, JudgeCall, Reply

TOKEN_NAME = "cyclealign"  # noqa: S105 - the name of a field, not a secret
ENDED = ("completed", "failed", "expired", "cancelled")
MAX_CALLS_PER_BATCH = 10_000
Result = Reply | JudgeCallFailed


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
    """Collects calls until none comes for ``window_seconds``, submits them as one batch, and polls for the replies.

    Use as an async context manager around all calls. If the block ends without an error, its replies are stored and
    its batches end; after an error they stay pending in the log, and the next run fetches their replies again.
    """

    def __init__(self, client: JudgeClient, log: BatchLog, window_seconds: float, poll_seconds: float) -> None:
        self._client, self._log = client, log
        self._window_seconds, self._poll_seconds = window_seconds, poll_seconds
        self._results: dict[str, asyncio.Future[Result]] = {}
        self._collected: list[JudgeCall] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._submitted: list[str] = []

    async def __aenter__(self) -> Self:
        for batch in await asyncio.to_thread(self._log.pending):
            for key in batch.keys:
                self._results[key] = asyncio.get_running_loop().create_future()
            self._submitted.append(batch.token)
            self._start(self._resume(batch), batch.keys)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if error is None:
            for token in self._submitted:
                self._log.end(token)

    async def complete(self, call: JudgeCall) -> Reply:
        """Return the reply to this call, from a pending batch or from the next one.

        Raises:
            JudgeFaltered: the batch, or this call in it, failed.
            JudgeCallFailed: this call failed, and would fail again.
            JudgeUnavailable: the provider refuses all calls.
        """
        if call.key not in self._results:
            self._results[call.key] = asyncio.get_running_loop().create_future()
            self._collected.append(call)
            self._restart_timer()
        result = await asyncio.shield(self._results[call.key])
        if isinstance(result, Reply):
            return result
        del self._results[call.key]  # a retry submits it again
        raise result

    def _restart_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._window_seconds, self._submit_collected)

    def _submit_collected(self) -> None:
        collected, self._collected = self._collected, []
        for start in range(0, len(collected), MAX_CALLS_PER_BATCH):
            calls = collected[start : start + MAX_CALLS_PER_BATCH]
            self._start(self._submit(calls), [call.key for call in calls])

    def _start(self, work: Any, keys: Sequence[str]) -> None:
        """Run ``work`` as a task; if it fails, each of the calls fails with its error."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._fail(keys, error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit(self, calls: Sequence[JudgeCall]) -> None:
        token, keys = uuid4().hex, [call.key for call in calls]
        await asyncio.to_thread(self._log.begin, token, keys)
        self._submitted.append(token)
        batch_id = await submit_batch(self._client, token, calls)
        await asyncio.to_thread(self._log.set_id, token, batch_id)
        await self._follow(batch_id, keys)

    async def _resume(self, batch: Batch) -> None:
        batch_id = batch.batch_id or await find_batch(self._client, batch.token)
        if batch_id is None:
            return self._fail(batch.keys, JudgeFaltered("The batch never reached the provider."))
        if batch.batch_id is None:
            await asyncio.to_thread(self._log.set_id, batch.token, batch_id)
        await self._follow(batch_id, batch.keys)
        return None

    async def _follow(self, batch_id: str, keys: Sequence[str]) -> None:
        """Poll until the batch has ended, and settle its calls."""
        while (batch := await retrieve_batch(self._client, batch_id)).status not in ENDED:
            await asyncio.sleep(self._poll_seconds)
        results = await fetch_results(self._client, batch)
        for key in keys:
            if key in results:
                self._settle(key, results[key])
        self._fail(keys, JudgeFaltered(f"The batch ended as '{batch.status}' without a result for this call."))

    def _settle(self, key: str, result: Result) -> None:
        waiting = self._results.get(key)
        if waiting and not waiting.done():
            waiting.set_result(result)

    def _fail(self, keys: Sequence[str], error: Exception) -> None:
        """Fail the calls that have no result yet."""
        for key in keys:
            waiting = self._results.get(key)
            if waiting and not waiting.done():
                if isinstance(error, JudgeCallFailed):
                    waiting.set_result(error)
                else:
                    waiting.set_exception(error)
                    waiting.exception()  # marks it as retrieved: this call may not be awaited again


async def submit_batch(client: JudgeClient, token: str, calls: Sequence[JudgeCall]) -> str:
    """Submit the calls as one batch; return the provider's id."""
    lines = "\n".join(json.dumps(request_line(call)) for call in calls) + "\n"
    async with client.api() as api:
        file = await api.files.create(file=(f"{token}.jsonl", lines.encode()), purpose="batch")
        batch = await api.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={TOKEN_NAME: token},
        )
    return batch.id


async def find_batch(client: JudgeClient, token: str) -> str | None:
    """Return the id of the batch with this token; None if the provider has none."""
    async with client.api() as api:
        async for batch in api.batches.list(limit=100):
            if (batch.metadata or {}).get(TOKEN_NAME) == token:
                return batch.id
    return None


async def retrieve_batch(client: JudgeClient, batch_id: str) -> openai.types.Batch:
    """Return the batch with its current status."""
    async with client.api() as api:
        return await api.batches.retrieve(batch_id)


async def fetch_results(client: JudgeClient, batch: openai.types.Batch) -> dict[str, Result]:
    """Return the result of each call of an ended batch, by key."""
    results: dict[str, Result] = {}
    async with client.api() as api:
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                results.update((key, parse_result(client, line)) for key, line in await _lines(api, file_id))
    return results


async def _lines(api: AsyncOpenAI, file_id: str) -> list[tuple[str, Mapping[str, Any]]]:
    content = (await api.files.content(file_id)).content
    return list(_keyed(content.splitlines()))


def _keyed(lines: Sequence[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in lines:
        try:
            row = json.loads(line)
            yield str(row["custom_id"]), row
        except (ValueError, KeyError, TypeError):
            continue  # its call gets no result, and is retried


def request_line(call: JudgeCall) -> dict[str, Any]:
    """Return one line of the submitted file. Its id is the call's key: replies come back in any order."""
    return {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": request_body(call)}


def parse_result(client: JudgeClient, line: Mapping[str, Any]) -> Result:
    """Return the reply in a line of the result file, or the error of its call."""
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    if status != 200 or not isinstance(response, dict):
        kind = RequestRefused if status in (400, 413, 422) else JudgeFaltered
        return kind(client.clean(f"Status {status} in the batch: {line.get('error') or response}"))
    try:
        return client.parse_reply(json.dumps(response.get("body")).encode(), 0.0, client.price.batch)
    except JudgeCallFailed as error:
        return error
