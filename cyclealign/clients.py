"""The OpenAI-compatible client: one call in, one reply with its price out, errors by name."""

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import openai
from openai import AsyncOpenAI

from cyclealign.config import JudgeSettings
from cyclealign.errors import JudgeCallFailed, JudgeUnavailable
from cyclealign.records import JudgeCall, Reply

Complete = Callable[[JudgeCall], Awaitable[Reply]]


class JudgeClient:
    """Calls a chat-completions address. Use as an async context manager, inside one event loop."""

    def __init__(self, settings: JudgeSettings, base_url: str | None, api_key: str) -> None:
        self._settings = settings
        self._api_key = api_key
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=settings.timeout_seconds,
            max_retries=settings.retries,
        )
        self._address = str(self._client.base_url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def complete(self, call: JudgeCall) -> Reply:
        """Ask once (the library retries time-outs, 429 and 5xx with back-off).

        Raises:
            JudgeUnavailable: nobody answers at the address, the key is refused or the model does not exist.
            JudgeCallFailed: this one call failed.
        """
        started = time.monotonic()
        messages: Any = list(call.messages)
        parameters: Any = dict(call.parameters)
        try:
            response = await self._client.chat.completions.create(model=call.model, messages=messages, **parameters)
        except openai.APITimeoutError as error:
            raise JudgeCallFailed(f"No reply within {self._settings.timeout_seconds:g} s.") from error
        except openai.APIConnectionError as error:
            raise JudgeUnavailable(self._unreachable()) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise JudgeUnavailable(self._refused(error.status_code)) from error
        except openai.OpenAIError as error:
            raise JudgeCallFailed(self._redacted(str(error))) from error
        return self._reply(response, time.monotonic() - started)

    def _reply(self, response: Any, seconds: float) -> Reply:
        text = response.choices[0].message.content if response.choices else None
        if not text:
            raise JudgeCallFailed("The reply is empty.")
        prompt_tokens = response.usage.prompt_tokens if response.usage else 0
        completion_tokens = response.usage.completion_tokens if response.usage else 0
        millionths = (
            prompt_tokens * self._settings.usd_per_million_prompt_tokens
            + completion_tokens * self._settings.usd_per_million_completion_tokens
        )
        return Reply(text, response.model, prompt_tokens, completion_tokens, millionths / 1e6, seconds)

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

    def _redacted(self, text: str) -> str:
        """Error texts of providers may quote the key; it must not reach the database or a log."""
        return text.replace(self._api_key, "[key]") if self._api_key else text


def parameters_of(settings: JudgeSettings) -> tuple[tuple[str, float | int | str], ...]:
    """The request parameters beside model and messages; part of a call's key."""
    return (("max_tokens", settings.max_tokens), ("temperature", settings.temperature))
