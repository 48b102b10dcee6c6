"""The provider's batch API: many calls in one file, at a lower price, within a day instead of seconds.

`BatchClient.complete` is a `Complete` like that of a client: whoever asks sees no difference but the time. What is
submitted is written down before, under a token of ours that travels with the batch; so a run that was killed finds its
batch again, whether or not it had learnt the provider's name for it, and nothing is submitted twice.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

import openai
from openai import AsyncOpenAI

from cyclealign.chat_api.client import JudgeClient, body_of
from cyclealign.errors import JudgeCallFailed, JudgeFaltered, RequestRefused
from cyclealign.records import Batch, JudgeCall, Reply

TOKEN_NAME = "cyclealign"  # noqa: S105 - the name of a field, not a secret
ENDED = ("completed", "failed", "expired", "cancelled")
MOST_CALLS = 10_000
Result = Reply | JudgeCallFailed


class BatchLog(Protocol):
    """Where it is written what was submitted; it outlives the process."""

    def begin(self, token: str, keys: Sequence[str]) -> None:
        """These calls are about to be submitted."""

    def name(self, token: str, batch_id: str) -> None:
        """The provider calls the batch so."""

    def end(self, token: str) -> None:
        """Nobody waits for it any more."""

    def open(self) -> list[Batch]:
        """What has begun and not ended."""


class BatchClient:
    """Collects calls until no more come for ``gather_seconds``, submits them together, and waits for the replies.

    Use as an async context manager around everything that asks. At an orderly end the replies are stored, and the
    batches are struck off; after an error they stay on the ledger, and the next run fetches their replies again.
    """

    def __init__(self, client: JudgeClient, ledger: BatchLog, gather_seconds: float, poll_seconds: float) -> None:
        self._client, self._ledger = client, ledger
        self._gather_seconds, self._poll_seconds = gather_seconds, poll_seconds
        self._results: dict[str, asyncio.Future[Result]] = {}
        self._gathered: list[JudgeCall] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._submitted: list[str] = []

    async def __aenter__(self) -> Self:
        for batch in await asyncio.to_thread(self._ledger.open):
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
                self._ledger.end(token)

    async def complete(self, call: JudgeCall) -> Reply:
        """Wait for the reply to this call, from a batch that is under way or from the next one.

        Raises:
            JudgeFaltered: the batch, or this call of it, failed.
            JudgeCallFailed: this call failed, and would again.
            JudgeUnavailable: the provider refuses.
        """
        if call.key not in self._results:
            self._results[call.key] = asyncio.get_running_loop().create_future()
            self._gathered.append(call)
            self._wait_for_more()
        result = await asyncio.shield(self._results[call.key])
        if isinstance(result, Reply):
            return result
        del self._results[call.key]  # it may be asked again
        raise result

    def _wait_for_more(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._gather_seconds, self._submit_gathered)

    def _submit_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        for start in range(0, len(gathered), MOST_CALLS):
            calls = gathered[start : start + MOST_CALLS]
            self._start(self._submit(calls), [call.key for call in calls])

    def _start(self, work: Any, keys: Sequence[str]) -> None:
        """Run ``work``; its failure is that of each of the calls."""

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
        await asyncio.to_thread(self._ledger.begin, token, keys)
        self._submitted.append(token)
        batch_id = await submit(self._client, token, calls)
        await asyncio.to_thread(self._ledger.name, token, batch_id)
        await self._follow(batch_id, keys)

    async def _resume(self, batch: Batch) -> None:
        batch_id = batch.batch_id or await find(self._client, batch.token)
        if batch_id is None:
            return self._fail(batch.keys, JudgeFaltered("The batch never reached the provider."))
        if batch.batch_id is None:
            await asyncio.to_thread(self._ledger.name, batch.token, batch_id)
        await self._follow(batch_id, batch.keys)
        return None

    async def _follow(self, batch_id: str, keys: Sequence[str]) -> None:
        """Wait until the batch has ended, and hand out what came of it."""
        while (seen := await look(self._client, batch_id)).status not in ENDED:
            await asyncio.sleep(self._poll_seconds)
        found = await fetch(self._client, seen)
        for key in keys:
            if key in found:
                self._settle(key, found[key])
        self._fail(keys, JudgeFaltered(f"The batch ended as '{seen.status}' without this call."))

    def _settle(self, key: str, result: Result) -> None:
        waiting = self._results.get(key)
        if waiting and not waiting.done():
            waiting.set_result(result)

    def _fail(self, keys: Sequence[str], error: Exception) -> None:
        """Those of the calls that have no result yet have failed."""
        for key in keys:
            waiting = self._results.get(key)
            if waiting and not waiting.done():
                if isinstance(error, JudgeCallFailed):
                    waiting.set_result(error)
                else:
                    waiting.set_exception(error)
                    waiting.exception()  # seen: perhaps nobody will ask for it


async def submit(client: JudgeClient, token: str, calls: Sequence[JudgeCall]) -> str:
    """Hand the calls to the provider; returns its name for the batch."""
    lines = "\n".join(json.dumps(request_line(call)) for call in calls) + "\n"
    async with client.speaking() as api:
        file = await api.files.create(file=(f"{token}.jsonl", lines.encode()), purpose="batch")
        made = await api.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={TOKEN_NAME: token},
        )
    return made.id


async def find(client: JudgeClient, token: str) -> str | None:
    """The provider's name of the batch that carries this token, if it has one."""
    async with client.speaking() as api:
        async for each in api.batches.list(limit=100):
            if (each.metadata or {}).get(TOKEN_NAME) == token:
                return each.id
    return None


async def look(client: JudgeClient, batch_id: str) -> openai.types.Batch:
    """How the batch stands."""
    async with client.speaking() as api:
        return await api.batches.retrieve(batch_id)


async def fetch(client: JudgeClient, batch: openai.types.Batch) -> dict[str, Result]:
    """What came of each call, by key."""
    found: dict[str, Result] = {}
    async with client.speaking() as api:
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                found.update((key, result_of(client, line)) for key, line in await _lines(api, file_id))
    return found


async def _lines(api: AsyncOpenAI, file_id: str) -> list[tuple[str, Mapping[str, Any]]]:
    content = (await api.files.content(file_id)).content
    return list(_keyed(content.splitlines()))


def _keyed(lines: Sequence[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in lines:
        try:
            row = json.loads(line)
            yield str(row["custom_id"]), row
        except (ValueError, KeyError, TypeError):
            continue  # its call has no result, and is asked again


def request_line(call: JudgeCall) -> dict[str, Any]:
    """A line of the file that is submitted; its id is the call's key, by which the reply is matched."""
    return {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": body_of(call)}


def result_of(client: JudgeClient, line: Mapping[str, Any]) -> Result:
    """The reply in a line of the result, or why there is none."""
    response = line.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    if status != 200 or not isinstance(response, dict):
        kind = RequestRefused if status in (400, 413, 422) else JudgeFaltered
        return kind(client.clean(f"Status {status} in the batch: {line.get('error') or response}"))
    try:
        return client.read(json.dumps(response.get("body")).encode(), 0.0, client.price.batch)
    except JudgeCallFailed as error:
        return error
