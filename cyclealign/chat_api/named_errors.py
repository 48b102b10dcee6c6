"""Errors of the HTTP library and of providers, named for what happened, with the provider's own words."""

import email.utils
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from cyclealign.chat_api.credentials import key_source, redacted
from cyclealign.chat_api.provider_error import NO_MONEY, ProviderError
from cyclealign.config import JudgeSettings
from cyclealign.errors import (
    CallForbidden,
    JudgeBusy,
    JudgeCallFailed,
    JudgeError,
    JudgeFaltered,
    JudgeUnavailable,
    RequestRefused,
)
from cyclealign.text import plain_text

MAX_ERROR_CHARACTERS = 500


class NamedErrors:
    """Names the errors of one endpoint.

    Args:
        address: of the endpoint, for messages.
        secrets: removed from every message.
    """

    def __init__(self, settings: JudgeSettings, address: str, secrets: Sequence[str]) -> None:
        self._settings, self._address, self._secrets = settings, address, secrets

    def of_connection(self, error: Exception) -> JudgeFaltered:
        """Return the named error for an error of the HTTP library; ``unpriced`` if the request was sent."""
        causes = list(exception_chain(error))
        if any(isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError) for cause in causes):
            return JudgeFaltered(
                f"No secure connection to the judge at {self._address}: {self.clean(str(causes[-1]))} Check "
                "judge.base_url (https or http) and the server's certificate.",
                unreachable=True,
            )
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
            return JudgeFaltered(self._unreachable(), unreachable=True)
        if any(isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionError) for cause in causes):
            return JudgeFaltered("The connection closed before the reply began.", unanswered=True)
        if isinstance(error, TimeoutError | openai.APITimeoutError):
            seconds = self._settings.timeout_seconds
            return JudgeFaltered(f"No reply within judge.timeout_seconds = {seconds:g}.", unpriced=True)
        if any(isinstance(cause, httpx2.DecodingError | aiohttp.ClientResponseError) for cause in causes):
            return JudgeFaltered(f"The response cannot be read: {self.clean(str(causes[-1]))}", unpriced=True)
        return JudgeFaltered("The connection closed before the reply was complete.", unpriced=True)

    def of_provider(self, error: ProviderError, headers: Mapping[str, str]) -> JudgeError:
        """Return the named error for an error of the provider, with the provider's own words."""
        status, words = error.status, self.clean(error.words)
        text = f"Status {status}: {words}"
        if status == 402 or error.code in NO_MONEY:
            return JudgeUnavailable(
                f"The account of the judge's API key has no money left ({status}: {words}). Top it up, then rerun."
            )
        if status == 401:
            return JudgeUnavailable(f"{self._key_refused(status)} The provider says: {words}")
        if status in (403, 404):
            return CallForbidden(text, self._key_refused(403) if status == 403 else self._no_model(), status == 404)
        if 300 <= status < 400:
            target = urlsplit(headers.get("location", ""))
            place = self.clean(f"{target.scheme}://{target.netloc}") if target.netloc else "another address"
            advice = "Redirections are not followed, since the key would follow: correct judge.base_url."
            return CallForbidden(f"Status {status}: {self._address} redirects to {place}.", advice)
        if status == 429 or (status == 503 and "retry-after" in headers):
            return JudgeBusy(text, retry_after_seconds(headers, time.time()))
        if status in (408, 409, 425) or status >= 500:
            return JudgeFaltered(text)
        return RequestRefused(text, error.parameter) if status in (400, 422) else JudgeCallFailed(text)

    def _unreachable(self) -> str:
        return f"The judge at {self._address} does not respond. Start it or correct judge.base_url, then rerun."

    def _no_model(self) -> str:
        return (
            f"{self._address} has no model '{self._settings.model}' (404), or is not the address of a chat API. "
            "Correct judge.model or judge.base_url."
        )

    def _key_refused(self, status: int) -> str:
        return (
            f"The judge at {self._address} refuses the key in {key_source(self._settings)} ({status}). "
            "Put a valid key there, then rerun."
        )

    def clean(self, text: str) -> str:
        """Return a provider's text on one line, truncated and with secrets redacted, for an error message."""
        return plain_text(" ".join(redacted(text, self._secrets).split())[:MAX_ERROR_CHARACTERS])


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
