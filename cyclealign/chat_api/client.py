"""The OpenAI-compatible client: sends one request, returns a priced reply, and raises named errors.

`cyclealign.chat_api.scheduler` retries, since each 429 lowers its concurrency limit; the library's retries are off.
"""

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from cyclealign.chat_api.prices import Price
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeBusy, JudgeCallFailed, JudgeFaltered, JudgeUnavailable, RequestRefused
from cyclealign.records import JudgeCall, Reply

# Sends one request to the judge; returns the priced reply.
Complete = Callable[[JudgeCall], Awaitable[Reply]]

# No ranking is as long; a longer reply is a fault, and is stored truncated.
MAX_REPLY_CHARACTERS = 50_000
MAX_ERROR_CHARACTERS = 500
KEEPALIVE_SECONDS = 30.0
# A shorter key is a placeholder for a server without keys; redacting it would damage replies that contain the word.
MIN_KEY_CHARACTERS = 8


class JudgeClient:
    """A client of one chat completions endpoint. Use as an async context manager, inside one event loop.

    Requests go through aiohttp and replies are parsed as plain JSON: the library's default transport and its response
    models take three times the processor time (docs/judging.md).

    Args:
        base_url: None: the library's default.
        api_key: removed from every text that this client returns or raises.
        price: of the model; None: free.
    """

    def __init__(self, settings: JudgeSettings, base_url: str | None, api_key: str, price: Price | None = None) -> None:
        self._settings, self._api_key, self.price = settings, api_key, price or Price()
        # aiohttp's default is 100 connections, whatever the concurrency.
        limits = httpx2.Limits(max_connections=settings.concurrency, keepalive_expiry=KEEPALIVE_SECONDS)
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=settings.timeout_seconds,
            http_client=DefaultAioHttpClient(limits=limits, follow_redirects=False),
        )
        self._address = str(self._client.base_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def complete(self, call: JudgeCall) -> Reply:
        """Send one request.

        Raises:
            JudgeUnavailable: no call can succeed: the key is refused, the account is empty or the model is unknown.
            JudgeBusy: too many requests.
            JudgeFaltered: this attempt failed; a retry may succeed.
            JudgeCallFailed: this call failed, and would fail again.
        """
        started = time.monotonic()
        # The library's timeout limits the wait for each chunk of the reply; this one limits the whole reply.
        async with self.api() as api, asyncio.timeout(self._settings.timeout_seconds):
            response = await api.post("/chat/completions", cast_to=httpx2.Response, body=request_body(call))
        return self.parse_reply(response.content, time.monotonic() - started)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[AsyncOpenAI]:
        """Yield the library's client; its errors are raised as those of `cyclealign.errors`.

        They are raised `from None`: messages of the library may quote the key, and a traceback would show them.
        """
        try:
            yield self._client
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except (openai.OpenAIError, httpx2.HTTPError, OSError) as error:  # TimeoutError is an OSError
            raise self._connection_error(error) from None

    def parse_reply(self, content: bytes, seconds: float, price_factor: float = 1.0) -> Reply:
        """Return the reply in a response body, at ``price_factor`` times the price.

        Raises:
            JudgeFaltered: the body is not a chat completion, or its text is empty.
            JudgeCallFailed: the judge refused, or its reply is too long; both were paid for.
        """
        body = parse_completion(content)
        if body is None:
            raise JudgeFaltered(f"The reply is not a chat completion: {self.clean(content.decode(errors='replace'))}")
        usage, message = usage_of(body), message_of(body)
        text, model = message.get("content"), self.clean(str(body.get("model", "")))
        usd = self.price.of(*usage) * price_factor
        reply = Reply(self._redacted(text) if isinstance(text, str) else "", model, *usage[:2], usd, seconds, usage[2])
        if message.get("refusal"):
            raise JudgeCallFailed(f"The judge refused: {self.clean(str(message['refusal']))}", reply)
        if not reply.text.strip():
            raise JudgeFaltered("The reply is empty.", reply)
        if len(reply.text) > MAX_REPLY_CHARACTERS:
            raise JudgeCallFailed(f"The reply is {len(reply.text):,} characters long.", _truncated(reply))
        return reply

    def _connection_error(self, error: Exception) -> JudgeFaltered:
        causes = list(exception_chain(error))
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
            return JudgeFaltered(self._unreachable(), unreachable=True)
        if any(isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionError) for cause in causes):
            return JudgeFaltered("The connection closed before the reply began.")
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            return JudgeFaltered(f"No reply within {self._settings.timeout_seconds:g} s.")
        return JudgeFaltered("The connection closed before the reply was complete.")

    def _status_error(self, error: openai.APIStatusError) -> Exception:
        """Return the named error for a status other than 200."""
        status, text = error.status_code, self.clean(f"Status {error.status_code}: {error.message}")
        if status in (401, 403, 404):
            return JudgeUnavailable(self._refused(status))
        if error.code in ("insufficient_quota", "billing_hard_limit_reached") or status == 402:
            return JudgeUnavailable(
                f"The account of the judge's API key has no money left ({status}). Top it up, then rerun."
            )
        if status == 429 or (status == 503 and "retry-after" in error.response.headers):
            return JudgeBusy(text, retry_after_seconds(error.response.headers, time.time()))
        if status in (408, 409, 425) or status >= 500:
            return JudgeFaltered(text)
        return RequestRefused(text) if status in (400, 422) else JudgeCallFailed(text)

    def _unreachable(self) -> str:
        return f"The judge at {self._address} does not respond. Start it or correct judge.base_url, then rerun."

    def _refused(self, status: int) -> str:
        if status == 404:
            return (
                f"{self._address} has no model '{self._settings.model}' (404). Correct judge.model or judge.base_url."
            )
        return (
            f"The judge at {self._address} refuses the key in {self._settings.api_key_variable} ({status}). "
            "Set that variable to a valid key, then rerun."
        )

    def clean(self, text: str) -> str:
        """Return a provider's text on one line, truncated and with the key redacted, for an error message."""
        return " ".join(self._redacted(text).split())[:MAX_ERROR_CHARACTERS]

    def _redacted(self, text: str) -> str:
        """Return the text without the key: providers may quote it, and it must not reach the database or a log."""
        return text.replace(self._api_key, "[key]") if len(self._api_key) >= MIN_KEY_CHARACTERS else text


def request_body(call: JudgeCall) -> dict[str, Any]:
    """Return the JSON body of the request."""
    schema = {} if call.reply_format is None else {"response_format": dict(call.reply_format)}
    return {"model": call.model, "messages": list(call.messages), **dict(call.parameters), **schema}


def parse_completion(content: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object of a chat completion with at least one message; None if it is anything else."""
    try:
        body = json.loads(content)
        return body if isinstance(body["choices"][0]["message"], dict) else None
    except (ValueError, LookupError, TypeError):
        return None


def message_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message of the first choice."""
    message: Mapping[str, Any] = body["choices"][0]["message"]
    return message


def usage_of(body: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return (prompt tokens, completion tokens, cached prompt tokens); 0 where the provider omits them."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds from ``retry-after-ms`` or ``retry-after`` (seconds or a date); None if neither is valid."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
            return max(0.0, seconds) if seconds < float("inf") else None
        except (KeyError, ValueError):
            continue
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - now)


def exception_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and its causes: the library has one class for a refused and for a closed connection."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def request_parameters(settings: JudgeSettings) -> tuple[tuple[str, float | int | str], ...]:
    """Return the request parameters other than model and messages; they are part of a call's key."""
    return (("max_tokens", settings.max_tokens), ("temperature", settings.temperature))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _truncated(reply: Reply) -> Reply:
    return replace(reply, text=reply.text[:MAX_ERROR_CHARACTERS])
