"""The OpenAI-compatible client: one attempt at one call in, one reply with its price out, errors by name.

Retries are the business of `cyclealign.chat_api.scheduler`, which sees every 429; the library's own are switched off.
"""

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
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

Complete = Callable[[JudgeCall], Awaitable[Reply]]

# No ranking is as long; what is, is a fault, and need not be kept whole.
MOST_REPLY_CHARACTERS = 50_000
MOST_ERROR_CHARACTERS = 500
KEEPALIVE_SECONDS = 30.0
# "any text" given to a server that wants no key is no secret, and may be part of an honest reply.
LEAST_KEY_CHARACTERS = 8


class JudgeClient:
    """Calls a chat-completions address. Use as an async context manager, inside one event loop.

    aiohttp carries the requests, and replies are read as plain JSON: the library's default transport and its parsing
    into models take three times as much of the processor (docs/judging.md).
    """

    def __init__(self, settings: JudgeSettings, base_url: str | None, api_key: str, price: Price | None = None) -> None:
        self._settings, self._api_key, self.price = settings, api_key, price or Price()
        # Without a number of its own, aiohttp's is 100.
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
        """Ask once.

        Raises:
            JudgeUnavailable: the key is refused, the money is spent or the model does not exist: no call can succeed.
            JudgeBusy: too much is asked at once.
            JudgeFaltered: this attempt failed; another may not.
            JudgeCallFailed: this call failed, and would again.
        """
        started = time.monotonic()
        # The library's timeout bounds each wait for a piece of the reply; this one the whole of it.
        async with self.speaking() as api, asyncio.timeout(self._settings.timeout_seconds):
            response = await api.post("/chat/completions", cast_to=httpx2.Response, body=body_of(call))
        return self.read(response.content, time.monotonic() - started)

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[AsyncOpenAI]:
        """The library's client, and its errors by our names.

        `from None`: the texts of the library's errors may quote the key, and a traceback would show them.
        """
        try:
            yield self._client
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.OpenAIError, httpx2.HTTPError, OSError) as error:  # TimeoutError is an OSError
            raise self._no_reply(error) from None

    def read(self, content: bytes, seconds: float, share: float = 1.0) -> Reply:
        """The reply in the body of a response; ``share`` of the price was paid for it.

        Raises:
            JudgeFaltered: it is no completion.
            JudgeCallFailed: the judge refused, or what it said cannot be used; it was paid for.
        """
        body = completion_in(content)
        if body is None:
            raise JudgeFaltered(f"The reply is no chat completion: {self.clean(content.decode(errors='replace'))}")
        usage, message = usage_of(body), message_of(body)
        text, model = message.get("content"), self.clean(str(body.get("model", "")))
        usd = self.price.of(*usage) * share
        reply = Reply(self._redacted(text) if isinstance(text, str) else "", model, *usage[:2], usd, seconds, usage[2])
        if message.get("refusal"):
            raise JudgeCallFailed(f"The judge refuses: {self.clean(str(message['refusal']))}", reply)
        if not reply.text.strip():
            raise JudgeFaltered("The reply is empty.", reply)
        if len(reply.text) > MOST_REPLY_CHARACTERS:
            raise JudgeCallFailed(f"The reply is {len(reply.text):,} characters long.", _cut(reply))
        return reply

    def _no_reply(self, error: Exception) -> JudgeFaltered:
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes(error)):
            return JudgeFaltered(self._unreachable(), unreachable=True)
        if any(isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionError) for cause in causes(error)):
            return JudgeFaltered("The connection was cut before the reply was there.")
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            return JudgeFaltered(f"No reply within {self._settings.timeout_seconds:g} s.")
        return JudgeFaltered("The connection was cut before the reply was whole.")

    def _refusal(self, error: openai.APIStatusError) -> Exception:
        """The error for a status other than 200."""
        status, text = error.status_code, self.clean(f"Status {error.status_code}: {error.message}")
        if status in (401, 403, 404):
            return JudgeUnavailable(self._refused(status))
        if error.code in ("insufficient_quota", "billing_hard_limit_reached") or status == 402:
            return JudgeUnavailable(
                f"The account of the judge's key has no money left ({status}). Top it up; run again."
            )
        if status == 429 or (status == 503 and "retry-after" in error.response.headers):
            return JudgeBusy(text, wait_asked_for(error.response.headers, time.time()))
        if status in (408, 409, 425) or status >= 500:
            return JudgeFaltered(text)
        return RequestRefused(text) if status in (400, 422) else JudgeCallFailed(text)

    def _unreachable(self) -> str:
        return f"The judge at {self._address} does not answer. Start it, or correct judge.base_url; then run again."

    def _refused(self, status: int) -> str:
        if status == 404:
            return (
                f"{self._address} knows no model '{self._settings.model}' (404). Correct judge.model or judge.base_url."
            )
        return (
            f"The judge at {self._address} refuses the key in {self._settings.api_key_variable} ({status}). "
            "Set that variable to a valid key; then run again."
        )

    def clean(self, text: str) -> str:
        """A text of the provider, short and without the key: fit for an error message."""
        return " ".join(self._redacted(text).split())[:MOST_ERROR_CHARACTERS]

    def _redacted(self, text: str) -> str:
        """What providers send may quote the key; it must not reach the database or a log."""
        return text.replace(self._api_key, "[key]") if len(self._api_key) >= LEAST_KEY_CHARACTERS else text


def body_of(call: JudgeCall) -> dict[str, Any]:
    """The body of the request."""
    given = {} if call.reply_format is None else {"response_format": dict(call.reply_format)}
    return {"model": call.model, "messages": list(call.messages), **dict(call.parameters), **given}


def completion_in(content: bytes) -> Mapping[str, Any] | None:
    """The JSON object of a completion, if it is one: with at least one choice that has a message."""
    try:
        body = json.loads(content)
        return body if isinstance(body["choices"][0]["message"], dict) else None
    except (ValueError, LookupError, TypeError):
        return None


def message_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message of the first choice."""
    message: Mapping[str, Any] = body["choices"][0]["message"]
    return message


def usage_of(body: Mapping[str, Any]) -> tuple[int, int, int]:
    """Prompt tokens, completion tokens, and how many of the prompt's came from the provider's cache; 0 if untold."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached)


def wait_asked_for(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that ``retry-after-ms`` or ``retry-after`` (seconds, or a date) asks for; None where neither does."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
            return max(0.0, seconds) if seconds < float("inf") else None
        except (KeyError, ValueError):
            continue
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - now)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that led to it; the library's own class does not tell a refused connection from a cut one."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def parameters_of(settings: JudgeSettings) -> tuple[tuple[str, float | int | str], ...]:
    """The request parameters beside model and messages; part of a call's key."""
    return (("max_tokens", settings.max_tokens), ("temperature", settings.temperature))


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _cut(reply: Reply) -> Reply:
    whole = reply.__dict__ | {"text": reply.text[:MOST_ERROR_CHARACTERS]}
    return Reply(**whole)
