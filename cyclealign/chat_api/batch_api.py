"""The endpoints of a provider's batch API: upload, create, find, poll, and read results; each one request or a few."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI

from cyclealign.chat_api.budget import request_characters
from cyclealign.chat_api.client import JudgeClient, request_body
from cyclealign.chat_api.completion import parse_json
from cyclealign.chat_api.provider_error import FAULT_STATUS, read_error
from cyclealign.errors import JudgeError, JudgeFaltered
from cyclealign.records import JudgeCall, Reply

TOKEN_NAME = "cyclealign"  # noqa: S105 - the name of a field, not a secret
RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
ENDED = ("completed", "failed", "expired", "cancelled")
TRANSFER_SECONDS = 1800.0  # for one file of up to 10,000 requests or replies
MAX_PAGES = 1_000
MAX_CALLS_PER_BATCH = 10_000
MAX_BATCH_CHARACTERS = 100_000_000  # of messages; the largest provider takes files of 200 MB
Result = Reply | JudgeError


@dataclass(frozen=True)
class BatchState:
    """A batch at the provider; ``problem`` is the error that made it fail as a whole, as a result of all its calls."""

    id: str
    status: str
    file_ids: tuple[str, ...]
    problem: JudgeError | None


class BatchApi:
    """The batch API of one endpoint. Errors are those of `JudgeClient.api`."""

    def __init__(self, client: JudgeClient) -> None:
        self._client = client

    async def upload(self, token: str, calls: Sequence[JudgeCall]) -> str:
        """Upload the requests of the calls; return the id of the file."""
        lines = "\n".join(json.dumps(request_line(call)) for call in calls) + "\n"
        async with self._api() as api:
            raw = await api.files.with_raw_response.create(file=(f"{token}.jsonl", lines.encode()), purpose="batch")
        return _id(self._values(raw.content))

    async def create(self, token: str, file_id: str) -> str:
        """Create a batch of an uploaded file; return its id."""
        async with self._api() as api:
            raw = await api.batches.with_raw_response.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={TOKEN_NAME: token},
                extra_headers={"Idempotency-Key": token},
            )
        return _id(self._values(raw.content))

    async def find(self, token: str) -> str | None:
        """Return the id of the batch with this token; None if the provider lists none."""
        after: str | openai.Omit = openai.omit
        for _ in range(MAX_PAGES):
            async with self._api() as api:
                raw = await api.batches.with_raw_response.list(limit=100, after=after)
            values = self._values(raw.content)
            rows = [row for row in values.get("data") or [] if isinstance(row, dict)]
            for row in rows:
                metadata = row.get("metadata")
                if isinstance(metadata, dict) and metadata.get(TOKEN_NAME) == token:
                    return _id(row)
            if not rows or not values.get("has_more"):
                break
            after = _id(rows[-1])
        return None

    async def state(self, batch_id: str) -> BatchState:
        """Return the batch with its current status."""
        async with self._api() as api:
            raw = await api.batches.with_raw_response.retrieve(batch_id)
        values = self._values(raw.content)
        status = values.get("status")
        if status not in RUNNING + ENDED:
            raise JudgeFaltered(self._client.errors.clean(f"The batch has the unknown status '{status}'."))
        files = [values.get(name) for name in ("output_file_id", "error_file_id")]
        return BatchState(
            _id(values), status, tuple(name for name in files if isinstance(name, str)), self._problem(values)
        )

    async def results(self, file_id: str) -> dict[str, Result]:
        """Return the results in an output or error file, by key of the call."""
        async with self._api() as api:
            raw = await api.files.with_raw_response.content(file_id)
        return {key: self.result(line) for key, line in _keyed(raw.content.splitlines())}

    def result(self, line: Mapping[str, Any]) -> Result:
        """Return the reply in a line of a result file, or the error of its call."""
        response, errors = line.get("response"), self._client.errors
        status = response.get("status_code") if isinstance(response, dict) else None
        if not isinstance(response, dict) or not isinstance(status, int):
            return JudgeFaltered(f"Not answered in the batch: {errors.clean(read_error(None, line).words)}")
        if status != 200:
            return errors.of_provider(read_error(status, response.get("body") or line), {})
        try:
            return self._client.reply_in(response.get("body"), {}, 0.0, self._client.price.batch)
        except JudgeError as error:
            return error

    @asynccontextmanager
    async def _api(self) -> AsyncIterator[AsyncOpenAI]:
        async with self._client.api() as api, asyncio.timeout(TRANSFER_SECONDS):
            yield api

    def _values(self, content: bytes) -> Mapping[str, Any]:
        """Return the JSON object of a response."""
        body = parse_json(content)
        if isinstance(body, dict) and body.get("error"):
            error = read_error(None, body)
            raise self._client.errors.of_provider(error, {})
        if not isinstance(body, dict):
            text = self._client.errors.clean(content[:1_000].decode(errors="replace"))
            raise JudgeFaltered(f"The batch API sent no JSON object: {text}")
        return body

    def _problem(self, values: Mapping[str, Any]) -> JudgeError | None:
        errors = values.get("errors")
        rows = errors.get("data") if isinstance(errors, dict) else None
        first = rows[0] if isinstance(rows, list) and rows else None
        if values.get("status") != "failed" or not isinstance(first, dict):
            return None
        error = read_error(400 if first.get("line") or first.get("param") else FAULT_STATUS, {"error": first})
        return self._client.errors.of_provider(error, {})


def batches_of(calls: Sequence[JudgeCall]) -> Iterator[list[JudgeCall]]:
    """Split calls into batches of a number and size that providers take."""
    batch: list[JudgeCall] = []
    size = 0
    for call in calls:
        size += request_characters(call)
        if batch and (len(batch) == MAX_CALLS_PER_BATCH or size > MAX_BATCH_CHARACTERS):
            yield batch
            batch, size = [], request_characters(call)
        batch.append(call)
    if batch:
        yield batch


def request_line(call: JudgeCall) -> dict[str, Any]:
    """Return one line of the submitted file. Its id is the call's key: replies come back in any order."""
    return {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": request_body(call)}


def _keyed(lines: Sequence[bytes]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (key, line) of the lines that are JSON objects; the calls of others get no result, and are retried."""
    for line in lines:
        row = parse_json(line)
        if isinstance(row, dict) and isinstance(row.get("custom_id"), str):
            yield row["custom_id"], row


def _id(values: Mapping[str, Any]) -> str:
    name = values.get("id")
    if not isinstance(name, str) or not name:
        raise JudgeFaltered("The batch API sent an object without an id.")
    return name
