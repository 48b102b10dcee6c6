"""The OpenAI-compatible client: sends one request, returns a priced reply, and raises named errors.

`cyclealign.chat_api.scheduler` retries, since each 429 lowers its concurrency limit; the library's retries are off.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx2
import openai
from aiohttp.http_exceptions import HttpProcessingError
from openai import AsyncOpenAI

from cyclealign.chat_api.bounded_http import BoundedClient
from cyclealign.chat_api.completion import Completion, error_in, parse_json, read_completion
from cyclealign.chat_api.credentials import check_key, key_source, redacted, resolve_headers
from cyclealign.chat_api.named_errors import MAX_ERROR_CHARACTERS, NamedErrors
from cyclealign.chat_api.prices import Price
from cyclealign.chat_api.provider_error import read_error
from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeCallFailed, JudgeFaltered, NothingToRead
from cyclealign.records import JudgeCall, Reply, content_id

# Sends one request to the judge; returns the priced reply.
Complete = Callable[[JudgeCall], Awaitable[Reply]]

# No ranking is as long; a longer reply is a fault, and is stored truncated.
MAX_REPLY_CHARACTERS = 50_000
KEEPALIVE_SECONDS = 30.0


class JudgeClient:
    """A client of one chat completions endpoint. Use as an async context manager, inside one event loop.

    Requests go through aiohttp and replies are parsed as plain JSON: the library's default transport and its response
    models take three times the processor time (docs/judging.md).

    Args:
        base_url: None: the library's default.
        api_key: removed from every text that this client returns or raises, as are secrets in headers.
        price: of the model; None: free.

    Raises:
        BadConfig: no header can carry the key, or a variable of ``judge.extra_headers`` is not set.
    """

    def __init__(self, settings: JudgeSettings, base_url: str | None, api_key: str, price: Price | None = None) -> None:
        check_key(api_key, key_source(settings))
        headers, secrets = resolve_headers(settings.extra_headers)
        self._settings, self.price, self._secrets = settings, price or Price(), (api_key, *secrets)
        # aiohttp's default is 100 connections, whatever the concurrency.
        limits = httpx2.Limits(max_connections=settings.concurrency, keepalive_expiry=KEEPALIVE_SECONDS)
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=settings.timeout_seconds,
            default_headers=headers,
            http_client=BoundedClient(limits=limits, follow_redirects=False),
        )
        self.errors = NamedErrors(settings, str(self._client.base_url), self._secrets)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def complete(self, call: JudgeCall) -> Reply:
        """Send one request.

        Raises:
            JudgeUnavailable: no call can succeed: the key is refused or the account is empty.
            JudgeBusy: too many requests.
            JudgeFaltered: this attempt failed; a retry may succeed.
            JudgeCallFailed: this call failed, and would fail again.
        """
        started = time.monotonic()
        # The library's timeout limits the wait for each chunk of the reply; this one limits the whole reply.
        async with self.api() as api, asyncio.timeout(self._settings.timeout_seconds):
            response = await api.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                body=request_body(call),
                options={"headers": {"Idempotency-Key": idempotency_key(call)}},
            )
        body = parse_json(response.content)
        if not isinstance(body, dict):
            text = response.content[: 4 * MAX_ERROR_CHARACTERS].decode(errors="replace")
            raise JudgeFaltered(f"The reply is not a chat completion: {self.errors.clean(text)}")
        return self.reply_in(body, response.headers, time.monotonic() - started)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[AsyncOpenAI]:
        """Yield the library's client; its errors are raised as those of `cyclealign.errors`.

        They are raised `from None`: messages of the library may quote the key, and a traceback would show them.
        """
        try:
            yield self._client
        except openai.APIStatusError as error:
            content = error.response.content
            told = read_error(error.status_code, parse_json(content), content.decode(errors="replace"))
            raise self.errors.of_provider(told, error.response.headers) from None
        except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:  # TimeoutError: OSError
            raise self.errors.of_connection(error) from None
        except (HttpProcessingError, UnicodeError) as error:
            raise JudgeFaltered(self.errors.clean(f"No valid HTTP: {error}"), unpriced=True) from None

    def reply_in(self, body: object, headers: Mapping[str, str], seconds: float, price_factor: float = 1.0) -> Reply:
        """Return the reply in the JSON body of a response with status 200, at ``price_factor`` times the price.

        Raises:
            JudgeFaltered: the body is not a chat completion.
            JudgeCallFailed: it reports an error, or a reply without an answer; ``paid`` is that reply.
        """
        if (error := error_in(body)) is not None:
            raise self.errors.of_provider(error, headers)
        if (completion := read_completion(body)) is None:
            raise JudgeFaltered(f"The reply is not a chat completion: {self.errors.clean(str(body)[:2_000])}")
        prompt, reply_tokens, cached = completion.usage
        usage = (prompt or 0, reply_tokens or 0, cached)
        reply = Reply(
            text=redacted(completion.text, self._secrets),
            model=self.errors.clean(completion.model),
            prompt_tokens=usage[0],
            completion_tokens=usage[1],
            cost_usd=self.price.of(*usage) * price_factor,
            seconds=seconds,
            cached_prompt_tokens=cached,
            counted=prompt is not None and reply_tokens is not None,
            finish_reason=self.errors.clean(completion.finish_reason),
        )
        return self._answer_in(completion, reply)

    def _answer_in(self, completion: Completion, reply: Reply) -> Reply:
        """Return the reply if it holds an answer; raise JudgeCallFailed otherwise."""
        if completion.refusal:
            raise JudgeCallFailed(f"The judge refused: {self.errors.clean(completion.refusal)}", _truncated(reply))
        if len(reply.text) > MAX_REPLY_CHARACTERS:
            raise JudgeCallFailed(f"The reply is {len(reply.text):,} characters long.", _truncated(reply))
        if reply.text.strip():
            return reply
        if completion.tool is not None:
            tool = self.errors.clean(completion.tool)
            raise JudgeCallFailed(f"The judge called a tool ('{tool}') instead of answering.", reply)
        if reply.finish_reason == "content_filter":
            raise JudgeCallFailed("The provider's content filter withheld the reply.", reply)
        holds = "holds thoughts and no answer" if completion.thoughts else "is empty"
        if not reply.cut:
            raise NothingToRead(f"The reply {holds}.", reply)
        count = f"{reply.completion_tokens:,} tokens" if reply.completion_tokens else "its limit of tokens"
        raise NothingToRead(
            f"The reply was cut off after {count}, and {holds}. Raise judge.max_tokens (now "
            f"{self._settings.max_tokens:,}); the thoughts of a reasoning judge count.",
            reply,
            cut=True,
        )


def request_body(call: JudgeCall) -> dict[str, Any]:
    """Return the JSON body of the request, without the parameters that the endpoint refuses."""
    parameters = dict(call.parameters)
    if call.token_limit is not None:
        parameters["max_tokens"] = call.token_limit
    if call.reply_format is not None:
        parameters["response_format"] = dict(call.reply_format)
    if "max_tokens" in call.refused and "max_tokens" in parameters:
        parameters["max_completion_tokens"] = parameters["max_tokens"]
    for name in call.refused:
        parameters.pop(name, None)
    return {"model": call.model, "messages": list(call.messages), **parameters}


def idempotency_key(call: JudgeCall) -> str:
    """Return the name of a request by its content: a provider that honours it bills a repeated request once.

    A request that got a reply before, usable or not, has another name: the same reply again would be of no use.
    """
    form = (call.token_limit, sorted(call.refused), call.reply_format is not None)
    return content_id("request", call.key, form, call.attempt)


def request_parameters(settings: JudgeSettings) -> tuple[tuple[str, Any], ...]:
    """Return the request parameters other than model and messages; they are part of a call's key.

    Parameters that are not set are left out, so that the keys of requests do not depend on settings that are newer.
    """
    parameters: list[tuple[str, Any]] = [("max_tokens", settings.max_tokens)]
    if settings.temperature is not None:
        parameters.append(("temperature", settings.temperature))
    if settings.reasoning_effort is not None:
        parameters.append(("reasoning_effort", settings.reasoning_effort))
    return (*parameters, *sorted(settings.extra_body.items()))


def _truncated(reply: Reply) -> Reply:
    return replace(reply, text=reply.text[:MAX_ERROR_CHARACTERS])
